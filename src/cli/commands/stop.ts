import { unitAction } from '../unit-action.ts'

export const stopCommand = unitAction({
  name: 'stop',
  summary: 'stop units: drain, signal, and after their grace kill; returns when their processes are gone',
  call: (client, unit, options) => client.stopUnit({ unit }, options),
})
