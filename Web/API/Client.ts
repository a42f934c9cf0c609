// Requests to the API: typed by its document, with the session's token, refused ones as `Refusal`.
import { routes } from "@api";
import type { Operations, Problem } from "@api";
import { clock } from "./Clock";
import { Refusal } from "./Problem";

type Optional<T, Name extends string> = {} extends T ? { readonly [Key in Name]?: T } : { readonly [Key in Name]: T };
type Body<T> = [T] extends [undefined] ? { readonly body?: undefined } : { readonly body: T };
/** What an operation is given. */
export type Given<Name extends keyof Operations> =
    Optional<Operations[Name]["path"], "path"> & Optional<Operations[Name]["query"], "query">
    & Optional<Operations[Name]["headers"], "headers"> & Body<Operations[Name]["body"]>;

/** Who knows the access token, and how to get another when it is refused. */
export interface TokenSource {
    /** @throws Refusal where there is none to be had now. */
    token(): Promise<string>;
    /** The token was refused: the next one is another. */
    forget(token: string): void;
}

let tokens: TokenSource | undefined;

export function useTokensOf(source: TokenSource): void {
    tokens = source;
}

/** Longer than any answer takes; then there is none. */
const answerMilliseconds = 15_000;

/** Asks, and answers what the document says. @throws Refusal */
export async function call<Name extends keyof Operations>(
    name: Name, given: Given<Name>, signal?: AbortSignal,
): Promise<Operations[Name]["answer"]> {
    return read(await ask(name, given, signal));
}

/** The same with the `ETag`, which says what an edit was made of. @throws Refusal */
export async function callForEdit<Name extends keyof Operations>(
    name: Name, given: Given<Name>, signal?: AbortSignal,
): Promise<{ readonly value: Operations[Name]["answer"]; readonly tag: string }> {
    const answer = await ask(name, given, signal);
    return { value: await read(answer), tag: answer.headers.get("ETag") ?? "" };
}

async function ask<Name extends keyof Operations>(name: Name, given: Given<Name>, signal?: AbortSignal): Promise<Response> {
    const [method, pattern, isPublic] = routes[name];
    const { path, query, headers, body } = given as {
        path?: Record<string, string>; query?: Record<string, string | number | undefined>;
        headers?: Record<string, string | undefined>; body?: unknown;
    };
    const target = pattern.replace(/\{(\w+)\}/g, (_, one: string) => encodeURIComponent(path?.[one] ?? ""));
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(query ?? {})) if (value !== undefined) search.set(key, String(value));
    const url = search.toString() ? `${target}?${search}` : target;
    const fields = new Headers();
    for (const [key, value] of Object.entries(headers ?? {})) if (value !== undefined) fields.set(key, value);
    if (body !== undefined) fields.set("Content-Type", "application/json");
    const init: RequestInit = { method, headers: fields, credentials: "same-origin", cache: "no-store" };
    if (body !== undefined) init.body = JSON.stringify(body);

    if (isPublic || !tokens) return send(url, init, signal);
    const token = await tokens.token();
    fields.set("Authorization", `Bearer ${token}`);
    const answer = await send(url, init, signal);
    if (answer.status !== 401) return answer;
    // It ran out on the way, or the session was ended: the next one tells.
    tokens.forget(token);
    fields.set("Authorization", `Bearer ${await tokens.token()}`);
    return send(url, init, signal);
}

async function send(url: string, init: RequestInit, signal?: AbortSignal): Promise<Response> {
    const ending = new AbortController();
    const abort = () => ending.abort();
    signal?.addEventListener("abort", abort);
    const timer = setTimeout(abort, answerMilliseconds);
    const asked = Date.now();
    try {
        const answer = await fetch(url, { ...init, signal: ending.signal });
        clock.learn(answer.headers.get("Date"), asked, Date.now());
        return answer;
    } catch {
        throw new Refusal(undefined);
    } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
    }
}

async function read<Answer>(answer: Response): Promise<Answer> {
    if (!answer.ok) throw await refusal(answer);
    if (answer.status === 204) return undefined as unknown as Answer;
    try {
        return await answer.json() as Answer;
    } catch {
        throw new Refusal(undefined);
    }
}

/** What an answer that refuses says; one that is no problem document comes from something in between. */
export async function refusal(answer: Response): Promise<Refusal> {
    const retryAfterSeconds = Number(answer.headers.get("Retry-After")) || undefined;
    try {
        const problem = await answer.json() as Problem;
        return new Refusal({ ...problem, status: answer.status, retryAfterSeconds: problem.retryAfterSeconds ?? retryAfterSeconds });
    } catch {
        return new Refusal({
            type: "urn:stampede:problem:unavailable", title: answer.statusText, status: answer.status, retryAfterSeconds,
        });
    }
}
