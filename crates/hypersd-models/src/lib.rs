//! The Stable Diffusion networks on Burn: CLIP text encoders, UNet, VAE, TAESD.
