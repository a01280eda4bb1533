(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const items = [...document.querySelectorAll(".items > li")];
  const words = items.map((item) => item.textContent.toLowerCase());
  const find = document.getElementById("find");
  const picks = [...document.querySelectorAll(".tools select")];
  const shown = document.getElementById("shown");
  const show = () => {
    const text = find.value.trim().toLowerCase();
    let count = 0;
    items.forEach((item, at) => {
      const fits = picks.every((pick) => !pick.value || item.dataset[pick.name] === pick.value) && (!text || words[at].includes(text));
      item.hidden = !fits;
      count += fits;
    });
    shown.textContent = count + " of " + items.length;
  };
  // What was chosen is seen from its first file on, wherever the page stood.
  const files = document.getElementById("files");
  const choose = () => {
    show();
    if (files.getBoundingClientRect().top < 0) files.scrollIntoView();
  };
  let later;
  find.addEventListener("input", () => { clearTimeout(later); later = setTimeout(choose, 120); });
  picks.forEach((pick) => pick.addEventListener("change", choose));
  show();

  // Players are made as they come into view: those of thousands at once take seconds and half a gigabyte.
  const seen = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
      seen.unobserve(target);
      target.innerHTML = target.querySelector("noscript").textContent;
      target.firstElementChild.setAttribute("aria-label", target.parentElement.querySelector(".what").textContent);
    });
  }, { rootMargin: "400px" });
  document.querySelectorAll(".sound").forEach((sound) => seen.observe(sound));

  // The line that makes the ticked ones anew, as a shell reads it.
  const bar = document.querySelector(".redo");
  const line = bar.querySelector("code");
  const quoted = (word) => (/^[A-Za-z0-9_.\/:,@%+=-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'");
  const ticked = () => items.filter((item) => item.querySelector("input").checked);
  const tell = () => {
    const ids = ticked().map((item) => item.dataset.id);
    const dashed = ids.some((id) => id.startsWith("-")) ? ["--"] : [];
    bar.classList.toggle("on", ids.length > 0);
    line.textContent = [...JSON.parse(bar.dataset.command), ...dashed, ...ids].map(quoted).join(" ");
    bar.querySelector("output").textContent = ids.length + " ticked";
  };
  document.querySelector(".items").addEventListener("change", tell);
  bar.querySelector(".copy").addEventListener("click", async (event) => {
    const button = event.currentTarget;
    try {
      await navigator.clipboard.writeText(line.textContent);
      button.textContent = "copied";
    } catch {
      // A page that was opened as a file may not: then it is marked, to be copied by hand.
      getSelection().selectAllChildren(line);
      button.textContent = "press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  bar.querySelector(".none").addEventListener("click", () => {
    ticked().forEach((item) => { item.querySelector("input").checked = false; });
    tell();
  });
  document.getElementById("tick").addEventListener("click", () => {
    // A protected file is in no redo, and one of them would end it.
    items.filter((item) => !item.hidden && !("protected" in item.dataset)).forEach((item) => { item.querySelector("input").checked = true; });
    tell();
  });
  // One sound at a time.
  document.addEventListener("play", (event) => {
    document.querySelectorAll("audio").forEach((audio) => { if (audio !== event.target) audio.pause(); });
  }, true);
  tell();
})();
