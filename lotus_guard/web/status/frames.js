// Drawing waits for the next frame, so that however many events come, each thing is drawn once.

const asked = new Set();
let isDue = false;

/** Do some work in the next frame; it gives whether more of it is left for the frame after. */
export function soon(work) {
  asked.add(work);
  if (!isDue) schedule();
}

function schedule() {
  isDue = true;
  // A page in the background gets no frames, and its title is to change all the same.
  if (document.hidden) setTimeout(frame);
  else requestAnimationFrame(frame);
}

function frame() {
  isDue = false;
  try {
    for (const work of [...asked]) {
      asked.delete(work);
      if (work()) asked.add(work);
    }
  } finally {
    if (asked.size && !isDue) schedule();
  }
}

document.addEventListener("visibilitychange", () => {
  if (isDue && document.hidden) schedule(); // the frame that was asked for does not come now
});
