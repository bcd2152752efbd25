import { decodeRecording, encodeRecording } from './recording'

const requests = [3, 0, 70].map((length, i) => ({ arrivalUs: i * 1500.5, message: new Uint8Array(length).fill(i + 1) }))
const file = encodeRecording({ beganMs: 1_790_000_000_000, requests })

describe('a recording', () => {
  it('is read as it was written', () => {
    const { beganMs, requests: read } = decodeRecording(file)
    expect(beganMs).toBe(1_790_000_000_000)
    expect(read.map(({ arrivalUs, message }) => ({ arrivalUs, message: new Uint8Array(message) }))).toEqual(requests)
  })

  it('is read up to what is whole of it, wherever it was cut off', () => {
    const ends = [16, 16 + 12 + 3, 16 + 12 + 3 + 12, file.length]
    for (let length = 16; length <= file.length; length++)
      expect(decodeRecording(file.subarray(0, length)).requests).toHaveLength(
        ends.filter((end) => end <= length).length - 1,
      )
  })

  it('says what is no recording', () => {
    expect(() => decodeRecording(Buffer.from('{}'))).toThrow('the file is no recording')
    const later = Buffer.from(file)
    later.writeUInt32LE(2, 4)
    expect(() => decodeRecording(later)).toThrow('version 2, known is 1')
  })
})
