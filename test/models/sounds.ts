export interface Pitch {
  /** Hertz. */
  readonly frequency: number
  readonly loudness: number
  /** Seconds. */
  readonly begin: number
  readonly end: number
}

/** Plucked strings: each pitch with six overtones that die away, and noise of `hiss`. */
export function strings(
  samples: number,
  rate: number,
  pitches: readonly Pitch[],
  hiss: number,
  random: () => number,
): Float32Array {
  const audio = Float32Array.from({ length: samples }, () => hiss * (2 * random() - 1))
  for (const { frequency, loudness, begin, end } of pitches)
    for (let i = Math.round(begin * rate); i < Math.min(samples, Math.round(end * rate)); i++) {
      const t = i / rate - begin
      const attack = Math.min(1, t / 0.01)
      for (let partial = 1; partial <= 6; partial++)
        audio[i]! +=
          ((loudness * attack) / partial) * Math.exp(-2 * partial * t) * Math.sin(2 * Math.PI * frequency * partial * t)
    }
  return audio
}

/** Of a note by its MIDI number: 69 is the A of 440 Hz. */
export function frequencyOf(note: number): number {
  return 440 * 2 ** ((note - 69) / 12)
}

/** Something like a voice: pulses of a throat at `pitch` Hz through three resonances of a mouth, gliding from vowel to vowel. */
export function voice(samples: number, rate: number, pitch: number, random: () => number): Float32Array {
  const vowels = [
    [730, 1090, 2440],
    [270, 2290, 3010],
    [570, 840, 2410],
    [530, 1840, 2480],
  ]
  const bandwidths = [80, 110, 150]
  const audio = new Float32Array(samples)
  const memory = bandwidths.map(() => [0, 0])
  let phase = 0
  for (let i = 0; i < samples; i++) {
    const t = i / rate
    phase += (pitch * (1 + 0.06 * Math.sin(2 * Math.PI * 2.3 * t) + 0.01 * (random() - 0.5))) / rate
    let value = 0
    if (phase >= 1) {
      phase -= 1
      value = 1
    }
    value += 0.02 * (random() - 0.5)
    const place = t * 4
    const from = vowels[Math.floor(place) % vowels.length]!
    const to = vowels[(Math.floor(place) + 1) % vowels.length]!
    const part = place % 1
    bandwidths.forEach((bandwidth, k) => {
      const resonance = from[k]! + (to[k]! - from[k]!) * part
      const r = Math.exp((-Math.PI * bandwidth) / rate)
      const [one, two] = memory[k] as [number, number]
      const next = (1 - r) * value + 2 * r * Math.cos((2 * Math.PI * resonance) / rate) * one - r * r * two
      memory[k] = [next, one]
      value = next
    })
    // Syllables: four a second.
    audio[i] = value * (0.15 + 0.85 * Math.abs(Math.sin(Math.PI * 4 * t)))
  }
  const loudest = audio.reduce((most, one) => Math.max(most, Math.abs(one)), 0)
  return audio.map((one) => (0.5 * one) / loudest)
}
