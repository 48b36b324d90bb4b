// Type grows where there is room, and shrinks where the estimates of decks.py fell short on this computer's fonts.
function fit(content) {
  const fits = (percent) => {
    content.style.setProperty("--scale", percent / 100);
    const right = content.getBoundingClientRect().right + 1;
    return content.scrollHeight <= content.clientHeight && content.scrollWidth <= content.clientWidth
      && [...content.querySelectorAll("math[display=block] > *")].every((part) => part.getBoundingClientRect().right <= right);
  };
  let least = 60, most = content.querySelector(".figure") ? 100 : 116;
  if (fits(most)) return;
  while (most - least > 1) {
    const middle = (least + most) >> 1;
    [least, most] = fits(middle) ? [middle, most] : [least, middle];
  }
  fits(least);
}

addEventListener("load", async () => {
  const answers = document.querySelectorAll(".content details");
  answers.forEach((answer) => (answer.open = true));  // room for what is unfolded later
  document.querySelectorAll(".content").forEach(fit);
  answers.forEach((answer) => (answer.open = false));
  document.querySelector(".reveal").classList.remove("measured");
  await Reveal.initialize({ width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t",
    transition: "none", controlsTutorial: false, plugins: [RevealNotes] });
});
