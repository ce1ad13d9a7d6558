/** A picture: what `getImageData` gives, or the bytes of a PNG or JPEG file. */
export type PictureLike =
  | { readonly width: number; readonly height: number; readonly data: Uint8ClampedArray | Uint8Array }
  | Uint8Array;

/** How a model is opened. Paths are among the files. */
export interface OpenOptions {
  /** The model: a folder in diffusers' layout or one file; all files where nothing is said. */
  model?: string;
  /** Replaces the UNet. */
  unet?: string;
  /** Replaces the VAE, with a TAESD for instance. */
  vae?: string;
  /** Merged in this order, each with weight 1 where nothing is said. */
  loras?: { path: string; weight?: number }[];
  /** Each is shown a picture of a request's `control`. */
  controlnets?: string[];
  /** Among a folder's weight files, `fp16` for instance. */
  variant?: string;
  /** The type that weights are kept in; all arithmetic is f32. Without it f32. */
  dtype?: "f32" | "f16" | "bf16";
  /** Keeps no weights: each network is read when it is needed. Then the largest must fit into memory, not all. */
  lowMemory?: boolean;
  /** Passes over tensors and LoRA keys that fit nothing. */
  lenient?: boolean;
  /** The settings that requests leave open, such as `hyper-sd15-unified`. */
  recipe?: string;
}

/** What a page has to know of a model. Ranges are least, most and default. */
export interface ModelInfo {
  family: string;
  width: number;
  height: number;
  controlnets: number;
  recipe: {
    name: string;
    scheduler: string;
    steps: [number, number, number];
    eta: [number, number, number] | null;
    guidance: [number, number, number];
  } | null;
  /** The account of each LoRA. */
  loras: string[];
}

/** A picture that guides. */
export interface ControlInput {
  image: PictureLike;
  /** Multiplies what the ControlNet says; 1 where nothing is said. */
  scale?: number;
  /** The share of the steps in which it acts; 0 to 1 where nothing is said. */
  start?: number;
  end?: number;
  /** Takes the edges of the picture first. */
  canny?: [low: number, high: number];
}

/** A request, with the members of the server's protocol. */
export interface DrawRequest {
  prompt?: string;
  negative_prompt?: string;
  /** Reads AUTOMATIC1111's weights in the prompts. */
  weighted?: boolean;
  /** 0 to 2^53, and 0 where nothing is said: what it is to PyTorch's CPU generator. */
  seed?: number;
  /** Multiples of 8; the start picture's, else the control's, else the model's. */
  width?: number;
  height?: number;
  steps?: number;
  eta?: number;
  guidance?: number;
  /** `tcd`, `lcm`, `ddim`, … */
  scheduler?: string;
  control?: ControlInput | ControlInput[];
  /** What drawing starts from, instead of noise. */
  image?: PictureLike;
  /** How far towards noise it is taken: a share of the steps, or of the noise with all steps, which is 0.8 without either. */
  strength?: number;
  noise_level?: number;
  /** White is painted anew. */
  mask?: PictureLike;
}
