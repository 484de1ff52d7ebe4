import { trainAutoencoder } from './models/node/train-autoencoder.ts'
import { autoencoderSizes } from './models/networks/autoencoder.ts'
import { nodeBackend } from './models/node/backend.ts'
const [ckpt, steps, lr, optimizer, batch] = [process.argv[2]!, +process.argv[3]!, +process.argv[4]!, process.argv[5] as 'muon', +(process.argv[6] ?? 16)]
const stop = new AbortController(); process.on('SIGINT', () => stop.abort()); process.on('SIGTERM', () => stop.abort())
let acc = 0, accl = 0, n = 0, ms = 0
await trainAutoencoder({ config: autoencoderSizes.stickers, backend: nodeBackend(), checkpoint: ckpt, seed: 1, steps, batch, frames: 5, side: +(process.argv[7] ?? 64), learningRate: lr, noise: 0.15, optimizer, signal: stop.signal, saveEvery: 250,
 report: (l) => { acc += l.scalars.squared!; accl += l.scalars.loss!; n++; ms += l.ms; if (n === 25) { console.log(new Date().toISOString().slice(11,19), l.step, 'loss', (accl/n).toFixed(4), 'psnr', (10*Math.log10(4/(acc/n))).toFixed(2), 'ms', (ms/n).toFixed(0), 'gn', l.scalars.gradientNorm!.toFixed(3)); acc = accl = n = ms = 0 } } })
