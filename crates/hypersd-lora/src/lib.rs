//! LoRA files and their merge arithmetic, by weight name, with exact accounting.
