import type { HsuError } from '../../base/error.ts'
import { answerFields, notGrpcFields, trailerFields } from '../grpc-answer.ts'
import { type Field, makeField } from '../h2/field.ts'

/** How a call is told that it failed: `alone` when nothing of an answer has been sent yet. */
export function failureFields(error: HsuError, alone: boolean, grpc: boolean): Field[] {
  const fields = !alone ? trailerFields(error) : grpc ? answerFields(error) : notGrpcFields(error)
  return Object.entries(fields).map(([name, value]) => makeField(name, String(value)))
}
