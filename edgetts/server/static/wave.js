// A waveform as bars: played, still to be heard, not there yet. Its colors are those of the style sheet.

import { PEAK_S } from "./sound.js";

const BAR_PX = 3;
const STEP_PX = 5; // a bar and the space after it
const LOUD = 0.25; // peaks above this scale the picture

// speech: a Speech or null. totalS: expected length. playedS: heard so far.
export function drawWave(canvas, speech, totalS, playedS) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const style = getComputedStyle(canvas);
  const color = (name) => style.getPropertyValue(name);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const nBars = Math.max(1, Math.floor((width - 2 * STEP_PX) / STEP_PX));
  const peaks = speech ? speech.peaks : [];
  const perBar = Math.max(1, totalS / PEAK_S / nBars);
  const loudest = peaks.reduce((most, peak) => Math.max(most, peak), LOUD);
  for (let bar = 0; bar < nBars; bar++) {
    const from = Math.floor(bar * perBar);
    const to = Math.max(from + 1, Math.floor((bar + 1) * perBar));
    const isThere = from < peaks.length;
    let peak = 0;
    for (let i = from; i < Math.min(to, peaks.length); i++) peak = Math.max(peak, peaks[i]);
    const isPlayed = isThere && to * PEAK_S <= playedS;
    const tall = Math.max(BAR_PX, (peak / loudest) * (height - 4 * BAR_PX));
    context.fillStyle = color(isPlayed ? "--accent" : isThere ? "--ahead" : "--line");
    context.beginPath();
    context.roundRect(STEP_PX + bar * STEP_PX, (height - tall) / 2, BAR_PX, tall, BAR_PX / 2);
    context.fill();
  }
}
