import { caption, parsePrompt, expandPrompt } from './models/world/captions.ts'
import { sampleAttributes } from './models/world/vocabulary.ts'
import { tokenize, unknownWords } from './models/text/tokenizer.ts'
import { allWords } from './models/world/grammar.ts'
let bad=0, maxlen=0, tot=0
for(let i=0;i<5000;i++){const a=sampleAttributes(i,'all');const c=caption(a,i,{omit:true,picture:i%5===4});const p=parsePrompt(c.text);if(c.asked.camera===undefined) delete (p as any).camera
 const k=(o:any)=>JSON.stringify(Object.entries(o).sort());if(k(p)!==k(c.asked)){bad++; if(bad<6)console.log(c.text,c.asked,p)} const n=tokenize(c.text).length; tot+=n; maxlen=Math.max(maxlen,n)}
console.log({bad,maxlen,mean:tot/5000,words:allWords().length})
for(let i=0;i<8;i++)console.log(caption(sampleAttributes(i,'all'),i).text)
console.log(unknownWords('a blue brid dragon'),expandPrompt('a blue bird flies left quickly over the sea'))
