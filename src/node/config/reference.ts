import * as z from 'zod'
import { fileSchema } from './schema.ts'
import { unsupportedKeys } from './support.ts'

interface JsonSchema {
  readonly [key: string]: unknown
  readonly type?: string
  readonly title?: string
  readonly description?: string
  readonly default?: unknown
  readonly const?: unknown
  readonly enum?: readonly unknown[]
  readonly $ref?: string
  readonly anyOf?: readonly JsonSchema[]
  readonly items?: JsonSchema
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: JsonSchema | false
  readonly propertyNames?: JsonSchema
  readonly $defs?: Readonly<Record<string, JsonSchema>>
}

/** The file as the schema takes it, before substitution of variables. */
function rawSchema(): JsonSchema {
  return z.toJSONSchema(fileSchema, { io: 'input', target: 'draft-2020-12' }) as JsonSchema
}

/** `${NAME}` may stand where the value is not text; an editor cannot know what it will be. */
const VARIABLE = { type: 'string', pattern: '\\$\\{', description: 'A variable: ${NAME} or ${NAME:-default}' }

/** The JSON Schema (draft 2020-12) of the config file, for editors: `hsu config schema`. */
export function jsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, $defs, ...root } = withVariables(rawSchema())
  return {
    $schema,
    $id: 'urn:hsu:config:1',
    title: 'HSU configuration',
    description: 'The config file of an HSU node',
    ...root,
    patternProperties: { '^x-': { description: 'Ignored: a place for YAML anchors' } },
    $defs: { ...$defs, variable: VARIABLE },
  }
}

/** Adds the option of a variable to every value that is not free text. Names of keys are left alone. */
function withVariables(schema: JsonSchema): JsonSchema {
  if (schema.type !== undefined && isNarrow(schema)) {
    const { description, default: fallback, ...rest } = schema
    const notes = { ...(description && { description }), ...(fallback !== undefined && { default: fallback }) }
    return { ...notes, anyOf: [rest, { $ref: '#/$defs/variable' }] }
  }
  const inMap = (map: Readonly<Record<string, JsonSchema>> | undefined): object =>
    Object.fromEntries(Object.entries(map ?? {}).map(([key, value]) => [key, withVariables(value)]))
  return {
    ...schema,
    ...(schema.properties && { properties: inMap(schema.properties) }),
    ...(schema.$defs && { $defs: inMap(schema.$defs) }),
    ...(schema.items && { items: withVariables(schema.items) }),
    ...(schema.anyOf && { anyOf: schema.anyOf.map(withVariables) }),
    ...(schema.additionalProperties && { additionalProperties: withVariables(schema.additionalProperties) }),
  } as JsonSchema
}

function isNarrow({ type, pattern, enum: values, const: value }: JsonSchema): boolean {
  if (type === 'string') return [pattern, values, value].some((limit) => limit !== undefined)
  return type === 'integer' || type === 'number' || type === 'boolean'
}

interface Section {
  readonly key: string
  readonly schema: JsonSchema
}

const INTRODUCTION = `# Configuration

<!-- Generated from the schema by \`npm run generate\`; do not edit. -->

One YAML file, \`hsu.yaml\` by default. An unknown key is an error. All faults are reported at once, each with its line.

- \`-f\` may be given several times: maps are merged, lists and values are replaced, the last file wins. Relative paths are
  relative to the directory of the first file.
- \`\${NAME}\` and \`\${NAME:-default}\` are filled in from the environment and from \`.env\` beside the first file, the
  environment winning; \`$$\` is a plain \`$\`.
- \`HSU_NODE_NAME\`, \`HSU_DATA_DIR\` and \`HSU_LOG_LEVEL\` overrule \`node.name\`, \`node.data_dir\` and \`node.log_level\`.
- Keys at the top that begin with \`x-\` are ignored: a place for YAML anchors, which \`*alias\` and \`<<: *alias\` use.
- Templates in \`run\`, \`env\` and probes: \`{port.NAME}\` \`{unit.name}\` \`{unit.instance}\` \`{replica}\` \`{node.name}\` \`{data_dir}\`.
- \`hsu config show\` prints the effective configuration with the origin of each value; \`hsu config schema\` prints a JSON
  Schema for editors (\`# yaml-language-server: $schema=hsu.schema.json\`).
`

/** docs/config.md: every key with its type, default and meaning. */
export function configReference(): string {
  const root = rawSchema()
  const sections = sectionsOf({ key: '', schema: root })
  const seen = new Map<string, string>()
  const texts = sections.flatMap((section) => {
    const content = JSON.stringify(section.schema.properties)
    const before = seen.get(content)
    if (before === undefined) seen.set(content, section.key)
    return before === undefined
      ? [sectionText(section, root)]
      : [`## ${section.key}\n\nThe same keys as \`${before}\`.\n`]
  })
  const refused = unsupportedKeys().map((key) => `- \`${key}\`\n`)
  const gaps = `## Not in this version\n\nAn error, not silence, below a unit:\n\n${refused.join('')}`
  return [INTRODUCTION, ...texts, gaps].join('\n')
}

/** A map with fixed keys, in a list too, is a section of its own, after the one that holds it. */
function sectionsOf({ key, schema }: Section): readonly Section[] {
  if (schema.properties !== undefined) {
    const inner = Object.entries(schema.properties).flatMap(([name, child]) =>
      sectionsOf({ key: key === '' ? name : `${key}.${name}`, schema: child }),
    )
    return [{ key, schema }, ...inner]
  }
  const options = [...(schema.anyOf ?? [])].map((option) => ({ key, schema: withoutText(option, schema) }))
  const values = typeof schema.additionalProperties === 'object' ? [schema.additionalProperties] : []
  const named = values.map((value) => ({ key: `${key}.NAME`, schema: withoutText(value, schema) }))
  const listed = schema.items === undefined ? [] : [{ key: `${key}[]`, schema: withoutText(schema.items, schema) }]
  return [...options, ...named, ...listed].flatMap((section) => sectionsOf(section))
}

function withoutText(schema: JsonSchema, above: JsonSchema): JsonSchema {
  return { ...schema, ...(above.description !== undefined && { description: above.description }) }
}

function sectionText({ key, schema }: Section, root: JsonSchema): string {
  const required = new Set(schema.required)
  const rows = Object.entries(schema.properties ?? {}).map(([name, child]) => {
    const fallback = required.has(name) ? 'required' : defaultText(child)
    return `| \`${name}\` | ${cell(typeText(child, root))} | ${fallback} | ${cell(child.description ?? refOf(child, root)?.description ?? '')} |`
  })
  const heading = key === '' ? '## The file' : `## ${key}`
  const description = key === '' || schema.description === undefined ? '' : `\n${schema.description}.\n`
  return `${heading}\n${description}\n| key | type | default | meaning |\n|---|---|---|---|\n${rows.join('\n')}\n`
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|')
}

function defaultText({ default: value }: JsonSchema): string {
  if (value === undefined) return ''
  const empty = typeof value === 'object' && value !== null && Object.keys(value).length === 0
  return empty ? '' : `\`${typeof value === 'string' ? value : JSON.stringify(value)}\``
}

function refOf({ $ref }: JsonSchema, root: JsonSchema): JsonSchema | undefined {
  return $ref === undefined ? undefined : root.$defs?.[$ref.replace('#/$defs/', '')]
}

function typeText(schema: JsonSchema, root: JsonSchema): string {
  const named = refOf(schema, root)
  if (named !== undefined) return (schema.$ref ?? '').replace('#/$defs/', '')
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map((option) => typeText(option, root)))].join(' or ')
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const).replaceAll('"', '')}\``
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(', ')
  if (schema.type === 'array') return schema.items === undefined ? 'list' : `list of ${typeText(schema.items, root)}`
  if (schema.type === 'object') {
    const values = schema.additionalProperties
    return typeof values === 'object' && values.properties === undefined ? `map of ${typeText(values, root)}` : 'map'
  }
  if (schema.type === 'string') return 'text'
  if (schema.type === 'boolean') return '`true`, `false`'
  return schema.type === undefined
    ? 'any'
    : `${schema.type === 'integer' ? 'whole number' : 'number'}${rangeText(schema)}`
}

function rangeText({ minimum, exclusiveMinimum, maximum }: JsonSchema): string {
  const least = minimum ?? exclusiveMinimum
  const most = typeof maximum === 'number' && maximum < Number.MAX_SAFE_INTEGER ? maximum : undefined
  if (least === undefined) return ''
  const more = exclusiveMinimum === undefined ? `${Number(least)}` : `more than ${Number(least)}`
  return most === undefined ? ` (${more}${exclusiveMinimum === undefined ? ' or more' : ''})` : ` (${more} to ${most})`
}
