import sharp from 'sharp'
import { loadCheckpoint } from './models/node/checkpoints.ts'
import { autoencoderSizes, encoder, decoder } from './models/networks/autoencoder.ts'
import { nodeBackend } from './models/node/backend.ts'
import { trace, input, scope } from './models/graph/graph.ts'
import { lower } from './models/onnx/lower.ts'
import { encode } from './models/onnx/encode.ts'
import { clipBatch } from './models/train/batches.ts'
const c = (await loadCheckpoint(process.argv[2]!))!
const N=12,F=5,S=64
const g = trace(()=>{const x=input('frames',[N,F,S,S,3]);return scope('autoencoder',()=>{const z=encoder(autoencoderSizes.stickers,x);return {y:decoder(autoencoderSizes.stickers,z),z}})})
const model=lower(g,{stored:(n)=>{const d=c.state[n+'@ema']!;return{dtype:'float32',data:{kind:'inline',bytes:new Uint8Array(d.buffer,d.byteOffset,d.byteLength)}}}})
const s=await nodeBackend({threads:1}).load({model:encode(model)})
const b=clipBatch(0x7000000,N,F,S)
const o=await s.run({frames:{dtype:'float32',shape:[N,F,S,S,3],data:b.frames}})
const y=o.y!.data as Float32Array; let se=0; for(let i=0;i<y.length;i++) se+=(y[i]!-b.frames[i]!)**2
console.log('step',c.step,'ema psnr',10*Math.log10(4/(se/y.length)))
const W=N*S,H=4*S,img=Buffer.alloc(W*H*3)
const put=(src:Float32Array,f:number,row:number)=>{for(let n=0;n<N;n++)for(let yy=0;yy<S;yy++)for(let x=0;x<S*3;x++)img[((row*S+yy)*W+n*S)*3+x]=Math.max(0,Math.min(255,Math.round((src[((n*F+f)*S+yy)*S*3+x]!+1)*127.5)))}
put(b.frames,0,0);put(y,0,1);put(b.frames,3,2);put(y,3,3)
await sharp(img,{raw:{width:W,height:H,channels:3}}).resize(W*2,H*2,{kernel:'nearest'}).png().toFile('/tmp/ae.png')
