// Pictures to start from: files, what is dropped or pasted, the camera.

/** The middle of a picture, `width` by `height`, as ImageData. */
export function cropped(source, width, height) {
  const [from, to] = [{ width: source.videoWidth ?? source.width, height: source.videoHeight ?? source.height }, { width, height }];
  const scale = Math.max(to.width / from.width, to.height / from.height);
  const [w, h] = [from.width * scale, from.height * scale];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(source, (width - w) / 2, (height - h) / 2, w, h);
  return context.getImageData(0, 0, width, height);
}

/** The picture in a file. */
export async function opened(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "The picture"} cannot be read: this browser knows no such kind of picture, or it is damaged.`);
  }
}

/** Calls `use` with pictures that are dropped on the page or pasted into it. */
export function received(use) {
  const picture = items => [...(items ?? [])].find(({ type }) => type.startsWith("image/"));
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();
    const file = picture(event.dataTransfer.files);
    if (file) use(file);
  });
  addEventListener("paste", event => {
    const file = picture(event.clipboardData.files);
    if (file) use(file);
  });
}

/** Shows the camera in a dialog, and gives what it sees when the button is pressed; null where the dialog is left. */
export async function photographed({ booth, video, shoot, leave }) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).catch(error => {
    throw new Error(error.name === "NotAllowedError" ? "The camera was not allowed to this page." : "No camera was found.");
  });
  video.srcObject = stream;
  booth.showModal();
  try {
    return await new Promise(resolve => {
      shoot.onclick = () => resolve(createImageBitmap(video));
      leave.onclick = booth.oncancel = () => resolve(null);
    });
  } finally {
    booth.close();
    stream.getTracks().forEach(track => track.stop());
  }
}
