/**
 * Progress as lines of tqdm, which the stock client's parseProgressFromLogs and the Worker read.
 *
 * A line starts with the percentage and ends with a newline: with a prefix or a carriage return the parsers find
 * nothing. Format: ` 50%|#####     | 4/8 [00:03<00:03]`.
 */

const barWidth = 10

/** One line, newline included. `elapsed` in milliseconds since the first step began. */
export function progressLine(step: number, steps: number, elapsed: number): string {
  const share = step / steps
  const percent = String(Math.floor(share * 100)).padStart(3)
  const bar = '#'.repeat(Math.floor(share * barWidth)).padEnd(barWidth)
  const left = step === 0 ? '?' : minutes((elapsed / step) * (steps - step))
  return `${percent}%|${bar}| ${step}/${steps} [${minutes(elapsed)}<${left}]\n`
}

/** 63,000 → `01:03`; hours only where there are some. */
function minutes(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60]
  return (parts[0] === 0 ? parts.slice(1) : parts).map((part) => String(part).padStart(2, '0')).join(':')
}
