/** Holds the declared types against the code: `npm run check` in the package fails where they differ. */
import type * as code from '../src/index.js'
import type * as declared from './index.js'

type Code = typeof code
type Declared = typeof declared
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
/** True where no name is wrong; else the error message says which. */
type Not<Names, Keys> = [Names] extends [never] ? true : { wrong: Names; of: Keys }

// The same names are exported.
export const names: Not<Exclude<keyof Code, keyof Declared> | Exclude<keyof Declared, keyof Code>, 'names'> = true

// Each component takes the props that are declared, and no others.
type Component = Exclude<{ [Name in keyof Declared]: Name extends Capitalize<Name> ? Name : never }[keyof Declared], 'ApiError'>
type Props<F> = F extends (props: infer P, ...rest: never[]) => unknown ? keyof NonNullable<P> : 'is no component'
export const props: Not<
  { [Name in Component]: Same<Props<Code[Name]>, Props<Declared[Name]>> extends true ? never : Name }[Component],
  'props'
> = true

/**
 * The names that `D` declares and `C` lacks, through all the objects that functions return. The names alone: of what the code
 * holds in its stores, no more than the first value can be inferred from it.
 */
type Missing<C, D, Path extends string> = D extends null | undefined | string | number | boolean | readonly unknown[]
  ? never
  : D extends (...args: never[]) => infer R
    ? C extends (...args: never[]) => infer S
      ? Missing<Awaited<S>, Awaited<R>, `${Path}()`>
      : Path
    : { [Key in keyof D & string]: Key extends keyof NonNullable<C> ? Inside<NonNullable<NonNullable<C>[Key]>, NonNullable<D[Key]>, `${Path}.${Key}`> : `${Path}.${Key}` }[keyof D & string]
/** Only functions and objects have names in them that the code's types tell of. */
type Inside<C, D, Path extends string> = D extends (...args: never[]) => unknown
  ? C extends (...args: never[]) => unknown
    ? never
    : Path
  : D extends { actions: object } | { emit: unknown } | { client: object }
    ? Missing<C, D, Path>
    : never
type Returning = Exclude<keyof Declared, Component | 'ApiError'>
export const results: Not<{ [Name in Returning]: Missing<Code[Name], Declared[Name], Name> }[Returning], 'results'> = true

export const errors: Not<Exclude<keyof InstanceType<Declared['ApiError']>, keyof InstanceType<Code['ApiError']>>, 'ApiError'> = true
