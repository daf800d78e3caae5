// A slider for each emotion, and a button that sets all of them to 0.

const $ = (id) => document.getElementById(id);

// names: of the emotions of the model.
export function makeEmotions(names) {
  $("emotions").replaceChildren(...names.map((name) => {
    const row = document.createElement("div");
    row.className = "emotion";
    row.innerHTML = '<label></label><input type="range" min="0" max="1" step="0.05" value="0"><output>0</output>';
    const [label, slider, value] = row.children;
    label.textContent = name;
    label.htmlFor = slider.id = `emotion-${name}`;
    slider.name = name;
    slider.addEventListener("input", () => {
      value.textContent = slider.valueAsNumber ? slider.valueAsNumber.toFixed(2) : "0";
      row.classList.toggle("set", slider.valueAsNumber > 0);
      $("neutral").hidden = Object.keys(emotionWeights()).length === 0;
    });
    return row;
  }));
}

// Name to weight, of those above 0.
export function emotionWeights() {
  const sliders = [...$("emotions").querySelectorAll("input")].filter((slider) => slider.valueAsNumber > 0);
  return Object.fromEntries(sliders.map((slider) => [slider.name, slider.valueAsNumber]));
}

$("neutral").addEventListener("click", () => {
  for (const slider of $("emotions").querySelectorAll("input")) {
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
  }
  $("emotions").querySelector("input").focus();
});
