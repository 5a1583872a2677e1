import type { DescriptorProto, FileDescriptorProto } from '@bufbuild/protobuf/wkt'

/**
 * Makes every reference to a type in `files` absolute (`.shop.v1.Order`), in place.
 *
 * The compilers do so themselves, but descriptors that come from protobufjs, as those of Node servers with
 * `@grpc/reflection` do, name types as the .proto file did. Such a name is looked for from the innermost scope
 * outwards (descriptor.proto, `FieldDescriptorProto.type_name`).
 */
export function qualifyNames(files: readonly FileDescriptorProto[], known: (typeName: string) => boolean): void {
  const own = new Set(files.flatMap((file) => typeNames(file.package, file)))
  const exists = (typeName: string): boolean => own.has(typeName) || known(typeName)
  for (const file of files) {
    const absolute = (name: string, scope: string): string => resolveName(name, scope, exists)
    qualifyFields(file.extension, file.package, absolute)
    for (const message of file.messageType) qualifyMessage(message, file.package, absolute)
    for (const service of file.service) {
      for (const method of service.method) {
        method.inputType = absolute(method.inputType, file.package)
        method.outputType = absolute(method.outputType, file.package)
      }
    }
  }
}

type Resolve = (name: string, scope: string) => string

function qualifyMessage(message: DescriptorProto, outer: string, absolute: Resolve): void {
  const scope = join(outer, message.name)
  qualifyFields([...message.field, ...message.extension], scope, absolute)
  for (const nested of message.nestedType) qualifyMessage(nested, scope, absolute)
}

function qualifyFields(fields: DescriptorProto['field'], scope: string, absolute: Resolve): void {
  for (const field of fields) {
    field.typeName = absolute(field.typeName, scope)
    field.extendee = absolute(field.extendee, scope)
  }
}

function resolveName(name: string, scope: string, exists: (typeName: string) => boolean): string {
  if (name === '' || name.startsWith('.')) return name
  for (let within = scope; ; within = within.slice(0, Math.max(0, within.lastIndexOf('.')))) {
    const candidate = join(within, name)
    if (exists(candidate)) return `.${candidate}`
    // Left as it is: whoever links the files says that it is missing.
    if (within === '') return name
  }
}

type Scope = Pick<FileDescriptorProto, 'messageType' | 'enumType'>

function typeNames(scope: string, { messageType, enumType }: Scope): readonly string[] {
  const enums = enumType.map(({ name }) => join(scope, name))
  const messages = messageType.flatMap((message) => {
    const name = join(scope, message.name)
    return [name, ...typeNames(name, { messageType: message.nestedType, enumType: message.enumType })]
  })
  return [...enums, ...messages]
}

function join(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`
}
