//! Diffusion schedulers as data: DDIM, TCD, LCM, Euler, DPM-Solver++, equal to diffusers, for any tensor type.
