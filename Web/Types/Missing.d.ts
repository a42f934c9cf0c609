// What React's declarations, as Debian packages them, refer to and Debian does not: as much as they need.
declare module "csstype" {
    export type Properties<Length = string | 0, _Time = string> = {
        readonly [name: `--${string}`]: string | number | undefined;
        readonly height?: Length | string;
        readonly width?: Length | string;
    };
}
declare module "prop-types" {
    export interface Validator<T> { (props: object, name: string, component: string): Error | null; readonly type?: T }
    export type Requireable<T> = Validator<T | null | undefined>;
    export type ValidationMap<T> = { [Name in keyof T]?: Validator<T[Name]> };
    export type InferProps<V> = { [Name in keyof V]: V[Name] extends Validator<infer T> ? T : unknown };
    export type ReactComponentLike = string | ((props: object) => unknown);
    export interface ReactElementLike { type: ReactComponentLike; props: unknown; key: string | number | null }
    export type ReactNodeLike = ReactElementLike | string | number | boolean | null | undefined;
}
declare module "scheduler/tracing" {
    export interface Interaction { readonly id: number; readonly name: string; readonly timestamp: number }
}
declare module "*.css";
