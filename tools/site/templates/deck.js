// Type grows where there is room, and shrinks where a slide holds too much for this computer's fonts.
function fit(content) {
  const fits = (percent) => {
    content.style.setProperty("--scale", percent / 100);
    const right = content.getBoundingClientRect().right + 1;
    return [content, ...content.querySelectorAll(".beside, .beside > *")].every(
      (box) => box.scrollHeight <= box.clientHeight + 1 && box.scrollWidth <= box.clientWidth + 1)
      && [...content.querySelectorAll("math[display=block] > *")].every((part) => part.getBoundingClientRect().right <= right);
  };
  let least = 60, most = content.querySelector(".figure") ? 100 : 140;
  if (fits(most)) return;
  while (most - least > 1) {
    const middle = (least + most) >> 1;
    [least, most] = fits(middle) ? [middle, most] : [least, middle];
  }
  fits(least);
}

addEventListener("load", async () => {
  document.querySelectorAll(".content").forEach(fit);
  document.querySelector(".reveal").classList.remove("measured");
  await Reveal.initialize({ width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t",
    transition: "none", controlsTutorial: false, plugins: [RevealNotes] });
});
