const box = document.getElementById("filter");
const entries = [...document.querySelectorAll("[data-words]")];
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const entry of entries) {
    entry.classList.toggle("gone", !words.every((word) => entry.dataset.words.includes(word)));
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    group.classList.toggle("gone", !group.querySelector("[data-words]:not(.gone)"));
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); }
});
