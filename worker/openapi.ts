/**
 * OpenAPI 3.1 from the routes and their schemas. Nothing is described here that is not served.
 */

import { toJsonSchema } from '@valibot/to-json-schema'
import type { GenericSchema } from 'valibot'
import { problemSchema } from '../shared/problem.ts'
import { webhookEvents } from '../shared/request.ts'
import type { Answer, Route } from './context.ts'
import { zoetropeVersion } from './receipt.ts'

/** A schema as JSON Schema; what a body may be before defaults. Rules JSON Schema cannot say are left to the server. */
const jsonSchema = (schema: GenericSchema): object => {
  const { $schema: _, ...rest } = toJsonSchema(schema, { typeMode: 'input', errorMode: 'ignore' })
  return rest
}

/** The document. @param baseUrl where the service is. */
export function openApi(routes: readonly Route[], baseUrl: string): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: operation(route) }
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Zoetrope', version: zoetropeVersion, description: 'Text to video that runs anywhere.' },
    servers: [{ url: baseUrl }],
    paths,
    webhooks: Object.fromEntries(webhookEvents.map((name) => [name, webhook(name)])),
    components: {
      schemas: { Problem: jsonSchema(problemSchema) },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key or a browser token' },
        operator: { type: 'http', scheme: 'bearer', description: 'The operator token of this deployment' },
      },
    },
  }
}

function operation(route: Route): object {
  const body = bodyOf(route)
  return {
    operationId: route.operationId,
    summary: route.summary,
    parameters: parametersOf(route),
    ...(body === undefined ? {} : { requestBody: body }),
    responses: {
      ...Object.fromEntries(Object.entries(route.answers).map(([status, answer]) => [status, response(answer)])),
      default: {
        description: 'A problem (RFC 9457)',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
    security: securityOf(route),
  }
}

function securityOf({ access }: Route): object[] {
  if (access === 'open') return []
  if (access === 'signature') return [{}, { bearer: [] }]
  if (access === 'operator') return [{ operator: [] }]
  return [{ bearer: access === 'any' ? [] : [access] }]
}

function parametersOf({ path, query = [], headers = [] }: Route): object[] {
  const text = { type: 'string' }
  return [
    ...[...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: text })),
    ...query.map((name) => ({ name, in: 'query', schema: text })),
    ...headers.map((name) => ({ name, in: 'header', schema: text })),
  ]
}

function bodyOf({ body, bodyType }: Route): object | undefined {
  if (body !== undefined) return { required: true, content: { 'application/json': { schema: jsonSchema(body) } } }
  return bodyType === undefined ? undefined : { required: true, content: { [bodyType]: {} } }
}

function response({ description, schema, contentType }: Answer): object {
  if (schema === undefined && contentType === undefined) return { description }
  const media = schema === undefined ? {} : { schema: jsonSchema(schema) }
  return { description, content: { [contentType ?? 'application/json']: media } }
}

const webhook = (name: string): object => ({
  post: {
    operationId: `webhook_${name.replace('.', '_')}`,
    summary: 'Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature',
    requestBody: {
      content: {
        'application/json': {
          schema: {
            type: 'object',
            required: ['type', 'timestamp', 'data'],
            properties: {
              type: { const: name },
              timestamp: { type: 'string', format: 'date-time' },
              data: {
                type: 'object',
                required: ['id', 'status'],
                properties: { id: { type: 'string' }, status: { type: 'string' } },
              },
            },
          },
        },
      },
    },
    responses: { '2XX': { description: 'Received' }, '410': { description: 'Send no more' } },
  },
})
