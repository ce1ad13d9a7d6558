//! ControlNet for Stable Diffusion 1.5 and SDXL on Burn.
