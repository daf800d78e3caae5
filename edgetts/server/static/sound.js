// Speech as it arrives, and a player that follows it.
// In: bytes of 16-bit samples, mono, RATE. Out: sound on the loudspeaker, peaks for a waveform, a WAV file.

export const RATE = 24000; // Hz, of response_format "pcm"
export const PEAK_S = 0.02; // seconds per peak
const FULL_SCALE = 32768;
const LEAD_S = 0.05; // between scheduling and sound
const FIRST_CUSHION_S = 0.15; // sound to have before playing; doubled after each break
const MAX_CUSHION_S = 8;

export class Speech {
  constructor() {
    this.parts = []; // Int16Array each
    this.peaks = []; // 0 to 1 per PEAK_S
    this.length = 0; // samples
    this.isComplete = false;
    this.rest = new Uint8Array(0); // half a sample
    this.block = { peak: 0, left: RATE * PEAK_S };
  }

  get seconds() {
    return this.length / RATE;
  }

  feed(bytes) {
    const all = new Uint8Array(this.rest.length + bytes.length);
    all.set(this.rest);
    all.set(bytes, this.rest.length);
    const n = all.length >> 1;
    this.rest = all.slice(2 * n);
    const view = new DataView(all.buffer);
    const samples = new Int16Array(n);
    for (let i = 0; i < n; i++) {
      samples[i] = view.getInt16(2 * i, true);
      this.block.peak = Math.max(this.block.peak, Math.abs(samples[i]) / FULL_SCALE);
      if (--this.block.left === 0) {
        this.peaks.push(this.block.peak);
        this.block = { peak: 0, left: RATE * PEAK_S };
      }
    }
    if (n) this.parts.push(samples);
    this.length += n;
  }

  wav() {
    const size = 2 * this.length;
    const head = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
    text(0, "RIFF");
    head.setUint32(4, 36 + size, true);
    text(8, "WAVEfmt ");
    head.setUint32(16, 16, true);
    head.setUint16(20, 1, true); // PCM
    head.setUint16(22, 1, true); // channel
    head.setUint32(24, RATE, true);
    head.setUint32(28, 2 * RATE, true);
    head.setUint16(32, 2, true);
    head.setUint16(34, 16, true);
    text(36, "data");
    head.setUint32(40, size, true);
    return new Blob([head, ...this.parts], { type: "audio/wav" });
  }
}

export class Player {
  constructor() {
    this.speech = null; // what is played, or null
    this.sources = new Set();
  }

  // To be called from a click or a key, else browsers keep the loudspeaker closed.
  start(speech) {
    this.stop();
    this.context ??= new AudioContext({ sampleRate: RATE });
    this.context.resume();
    this.speech = speech;
    this.nParts = 0; // scheduled
    this.scheduledS = 0;
    this.endsAt = 0; // of what is scheduled, by the context's clock
    this.cushionS = FIRST_CUSHION_S;
    this.isSounding = false;
    this.nBreaks = 0;
    this.feed();
  }

  stop() {
    for (const source of this.sources) source.stop();
    this.sources.clear();
    this.speech = null;
  }

  get playedS() {
    return this.speech ? Math.max(0, this.scheduledS - Math.max(0, this.endsAt - this.context.currentTime)) : 0;
  }

  get hasEnded() {
    const { speech } = this;
    return !speech || (speech.isComplete && this.nParts === speech.parts.length && this.endsAt <= this.context.currentTime);
  }

  // Schedule what has arrived. To be called for new sound and with every frame.
  feed() {
    const { speech, context } = this;
    if (!speech || this.hasEnded) return;
    if (this.endsAt <= context.currentTime) {
      if (this.isSounding) {
        this.isSounding = false;
        this.nBreaks += 1;
        this.cushionS = Math.min(2 * this.cushionS, MAX_CUSHION_S);
      }
      if (!speech.isComplete && speech.seconds - this.scheduledS < this.cushionS) return;
      this.isSounding = true;
      this.endsAt = context.currentTime + LEAD_S;
    }
    for (; this.nParts < speech.parts.length; this.nParts++) this.schedule(speech.parts[this.nParts]);
  }

  schedule(samples) {
    const buffer = this.context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(Float32Array.from(samples, (sample) => sample / FULL_SCALE), 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.onended = () => this.sources.delete(source);
    source.start(this.endsAt);
    this.sources.add(source);
    this.endsAt += buffer.duration;
    this.scheduledS += buffer.duration;
  }
}
