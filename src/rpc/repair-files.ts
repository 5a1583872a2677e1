import { protoCamelCase } from '@bufbuild/protobuf/reflect'
import type { DescriptorProto, FileDescriptorProto } from '@bufbuild/protobuf/wkt'

/**
 * Adds to `files`, in place, what compilers write but others leave out: references to types are made absolute
 * (`.shop.v1.Order`) and backed by an import, and fields get their JSON names.
 * `fileOf` names the file of a type that is not in `files`; undefined when there is none.
 *
 * protobufjs leaves all of it out, and so do Node servers with `@grpc/reflection`. A relative name is looked for from
 * the innermost scope outwards, as descriptor.proto says of `FieldDescriptorProto.type_name`.
 */
export function repairFiles(
  files: readonly FileDescriptorProto[],
  fileOf: (typeName: string) => string | undefined,
): void {
  const owners = new Map(files.flatMap((file) => typeNames(file.package, file).map((name) => [name, file.name])))
  for (const file of files) {
    const absolute = (name: string, scope: string): string => {
      const found = findType(name, scope, (typeName) => owners.get(typeName) ?? fileOf(typeName))
      if (found === undefined) return name
      if (found.file !== file.name && !file.dependency.includes(found.file)) file.dependency.push(found.file)
      return `.${found.typeName}`
    }
    repairFields(file.extension, file.package, absolute)
    for (const message of file.messageType) repairMessage(message, file.package, absolute)
    for (const method of file.service.flatMap((service) => service.method)) {
      method.inputType = absolute(method.inputType, file.package)
      method.outputType = absolute(method.outputType, file.package)
    }
  }
}

type Absolute = (name: string, scope: string) => string

function repairMessage(message: DescriptorProto, outer: string, absolute: Absolute): void {
  const scope = join(outer, message.name)
  repairFields([...message.field, ...message.extension], scope, absolute)
  for (const nested of message.nestedType) repairMessage(nested, scope, absolute)
}

function repairFields(fields: DescriptorProto['field'], scope: string, absolute: Absolute): void {
  for (const field of fields) {
    field.typeName = absolute(field.typeName, scope)
    field.extendee = absolute(field.extendee, scope)
    if (field.jsonName === '') field.jsonName = protoCamelCase(field.name)
  }
}

interface FoundType {
  readonly typeName: string
  /** The file that defines it. */
  readonly file: string
}

/** Undefined when there is no such type: whoever links the files says what is missing. */
function findType(
  name: string,
  scope: string,
  fileOf: (typeName: string) => string | undefined,
): FoundType | undefined {
  if (name === '') return undefined
  const isAbsolute = name.startsWith('.')
  for (const typeName of isAbsolute ? [name.slice(1)] : candidates(name, scope)) {
    const file = fileOf(typeName)
    if (file !== undefined) return { typeName, file }
  }
  return undefined
}

/** `a.b.C.X`, `a.b.X`, `a.X`, `X` for `X` in `a.b.C`. */
function candidates(name: string, scope: string): readonly string[] {
  const parts = scope === '' ? [] : scope.split('.')
  return [...parts.map((_, index) => join(parts.slice(0, parts.length - index).join('.'), name)), name]
}

function typeNames(scope: string, { messageType, enumType }: TypeHolder): readonly string[] {
  const enums = enumType.map(({ name }) => join(scope, name))
  const messages = messageType.flatMap((message) => {
    const name = join(scope, message.name)
    return [name, ...typeNames(name, { messageType: message.nestedType, enumType: message.enumType })]
  })
  return [...enums, ...messages]
}

type TypeHolder = Pick<FileDescriptorProto, 'messageType' | 'enumType'>

function join(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`
}
