/**
 * A learning curve as an SVG: one line per scalar, steps across, logarithmic upwards.
 */

import type { CurvePoint } from './loop.ts'

const [width, height, margin] = [720, 360, 56]
const inks = ['#2b6cb0', '#c05621', '#2f855a', '#6b46c1']

/** Draws the named scalars of a curve. */
export function curveSvg(title: string, curve: readonly CurvePoint[], names: readonly string[]): string {
  const values = curve
    .flatMap(({ scalars }) => names.map((name) => scalars[name] ?? Number.NaN))
    .filter((value) => value > 0)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const steps = Math.max(1, ...curve.map(({ step }) => step))
  const x = (step: number) => margin + ((width - 2 * margin) * step) / steps
  const y = (value: number) =>
    height - margin - ((height - 2 * margin) * Math.log(value / low)) / Math.log(high / low || 2)
  const lines = names.map((name, index) => {
    const points = curve
      .filter(({ scalars }) => (scalars[name] ?? 0) > 0)
      .map(({ step, scalars }) => `${x(step).toFixed(1)},${y(scalars[name] as number).toFixed(1)}`)
    const label = `<text x="${width - margin + 6}" y="${margin + 18 * index}" fill="${inks[index % inks.length]}">${name}</text>`
    return `<polyline fill="none" stroke="${inks[index % inks.length]}" stroke-width="1.5" points="${points.join(' ')}"/>${label}`
  })
  const marks = [low, Math.sqrt(low * high), high].map(
    (value) => `<text x="6" y="${y(value) + 4}">${value.toPrecision(3)}</text>`,
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width + 60} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/><text x="${margin}" y="24" font-size="15">${title}</text>`,
    `<path d="M${margin} ${margin}V${height - margin}H${width - margin}" fill="none" stroke="#888"/>`,
    `<text x="${margin}" y="${height - 24}">0</text><text x="${width - margin}" y="${height - 24}" text-anchor="end">${steps} steps</text>`,
    ...marks,
    ...lines,
    '</svg>',
    '',
  ].join('\n')
}
