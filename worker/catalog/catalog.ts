/**
 * The catalog as this deployment offers it: our own models from their cards, cloud models where there is an account.
 *
 * Cards come bundled (gather.mjs) and, for a node with models of its own, from the MODEL_CARDS variable.
 */

import { type Catalog, type CatalogModel, catalogModelOf } from '../../shared/catalog.ts'
import { GenerationError } from '../../shared/errors.ts'
import { type ModelCard, readCard } from '../../shared/manifest.ts'
import type { Env } from '../env.ts'
import bundled from './cards.json' with { type: 'json' }
import { replicateEntries } from './replicate.ts'

export interface ModelCatalog {
  readonly list: Catalog
  readonly cards: ReadonlyMap<string, ModelCard>
  /** A model by id, id@revision, or the default where none is named. Throws invalid_parameter for any other. */
  readonly model: (name: string | undefined) => CatalogModel
}

/** Reads the catalog of some bindings. */
export function modelCatalog(env: Env): ModelCatalog {
  const own = JSON.parse(env.MODEL_CARDS || '[]') as unknown[]
  const cards = new Map([...(bundled as unknown[]), ...own].map(readCard).map((card) => [card.id, card]))
  const upstream = env.REPLICATE_API_TOKEN ? [...replicateEntries.values()].map(({ model }) => model) : []
  const models = new Map([...[...cards.values()].map(catalogModelOf), ...upstream].map((model) => [model.id, model]))
  const preferred = env.DEFAULT_MODEL ?? 'zt-nano'
  const fallback = models.has(preferred) ? preferred : ([...models.keys()][0] ?? '')
  return {
    list: { object: 'list', default_model: fallback, data: [...models.values()] },
    cards,
    model: (name = fallback) => {
      const [id = '', revision] = name.split('@')
      const model = models.get(id)
      if (model !== undefined && (revision === undefined || revision === model.revision)) return model
      const allowed = [...models.keys()].join(', ') || 'none, for no model is configured'
      throw new GenerationError('invalid_parameter', `model: got ${name}, allowed are ${allowed}`, {
        pointer: '/model',
      })
    },
  }
}
