import { HsuError } from '../base/error.ts'

/** `{name}` or `{name.part}`; doubled braces and braces with anything else inside (JSON, formats) are left as they are. */
const TEMPLATE = /(?<!\{)\{([a-z_]+(?:\.[A-Za-z0-9_-]+)?)\}(?!\})/g

/** What a template may name, without its braces: `port.grpc`, `unit.name`, `replica`. */
export type TemplateValues = Readonly<Record<string, string>>

/** What the templates in `run`, `env` and probes of one instance stand for. */
export interface TemplateSubject {
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly ports: Readonly<Record<string, number>>
  readonly nodeName: string
  readonly dataDir: string
}

export function templateValues(subject: TemplateSubject): TemplateValues {
  const ports = Object.entries(subject.ports).map(([name, port]) => [`port.${name}`, String(port)])
  return {
    'unit.name': subject.unit,
    'unit.instance': subject.instance,
    replica: String(subject.replica),
    'node.name': subject.nodeName,
    data_dir: subject.dataDir,
    ...(Object.fromEntries(ports) as Record<string, string>),
  }
}

/** Replaces the templates in `text`. @throws HsuError `CONFIG_INVALID` for a template that stands for nothing, with those that do */
export function expandTemplates(text: string, values: TemplateValues): string {
  return text.replace(TEMPLATE, (template: string, name: string) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    if (value !== undefined) return value
    const known = Object.keys(values).map((each) => `{${each}}`)
    throw new HsuError('CONFIG_INVALID', `unknown template ${template} in '${text}'; known here: ${known.join(' ')}`, {
      details: { template },
    })
  })
}
