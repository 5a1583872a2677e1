import type { PostAnswer } from './json-post.ts'

/** What a collector made of what it was sent (OTLP/HTTP with JSON). */
export type OtlpAnswer =
  /** `rejected`: how much of it was refused for good, and why. */
  | { readonly taken: true; readonly rejected: number; readonly why: string }
  /** `passes`: it may be tried again, after `afterMs` at the earliest. */
  | { readonly taken: false; readonly passes: boolean; readonly why: string; readonly afterMs: number }

/** Credentials get right again without us; so do collectors behind a proxy. The protocol names 429, 502, 503 and 504. */
const PASSING = new Set([401, 403, 404, 408, 429, 500, 502, 503, 504])

/** `rejectedKey`: how the partial success of what was sent names what was refused. */
export function otlpAnswerOf(
  { status, text, retryAfterMs }: PostAnswer,
  rejectedKey: 'rejectedLogRecords' | 'rejectedSpans',
): OtlpAnswer {
  if (status >= 200 && status < 300) return { taken: true, ...partly(text, rejectedKey) }
  const why = `HTTP ${status}${text === '' ? '' : `: ${text.slice(0, 200)}`}`
  return { taken: false, passes: PASSING.has(status), why, afterMs: retryAfterMs }
}

function partly(text: string, rejectedKey: string): { readonly rejected: number; readonly why: string } {
  try {
    const { partialSuccess } = JSON.parse(text) as { partialSuccess?: Readonly<Record<string, string | number>> }
    const why = String(partialSuccess?.['errorMessage'] ?? 'it does not say why')
    return { rejected: Number(partialSuccess?.[rejectedKey] ?? 0) || 0, why }
  } catch {
    return { rejected: 0, why: '' }
  }
}
