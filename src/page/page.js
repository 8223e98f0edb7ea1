// Search, filter and order of the layers; without scripts the page shows all of them.
(() => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const [list, search, operation, least, order, found] =
    ["layers", "search", "operation", "least", "order", "found"].map(element);
  const layers = [...list.children];
  const texts = layers.map((layer) => layer.textContent.toLowerCase());

  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    layers.forEach((layer, k) => {
      const fits = words.every((word) => texts[k].includes(word))
        && (!operation.value || layer.dataset.ops.split(" ").includes(operation.value))
        && Number(layer.dataset.share) >= Number(least.value);
      layer.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    const hottest = order.value === "hottest";
    const sorted = hottest ? [...layers].sort((a, b) => b.dataset.ns - a.dataset.ns) : layers;
    list.append(...sorted);
    // Lines between layers only mean something where all stand in order.
    list.classList.toggle("apart", hottest || shown < layers.length);
    found.textContent = `${shown} of ${layers.length} layers`;
  }

  function each(open) {
    layers.filter((layer) => !layer.hidden).forEach((layer) => {
      layer.querySelector("details").open = open;
    });
  }

  function reveal() {
    const layer = layers.find((one) => `#${one.id}` === location.hash);
    if (!layer) return;
    if (layer.hidden) {
      [search.value, operation.value, least.value] = ["", "", "0"];
      apply();
    }
    layer.querySelector("details").open = true;
    layer.scrollIntoView({ block: "start" });
  }

  [search, operation, least, order].forEach((control) => control.addEventListener("input", apply));
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("open").addEventListener("click", () => each(true));
  element("close").addEventListener("click", () => each(false));
  addEventListener("hashchange", reveal);
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && document.activeElement === search) {
      search.value = "";
      apply();
    }
  });
  element("controls").hidden = false;
  apply();
  reveal();
})();
