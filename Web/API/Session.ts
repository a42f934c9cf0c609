// The session of this browser: the refresh token is in a cookie that only its route is sent, the access token in memory.
import type { Account, PersonSignUp, SignedIn, Tokens } from "@api";
import { call, useTokensOf } from "./Client";
import type { TokenSource } from "./Client";
import { Refusal } from "./Problem";
import { Store } from "./Store";

export interface SessionState {
    /** `unknown` until the cookie was tried; `out` where there is nobody; `over` where a session ended by itself. */
    readonly kind: "unknown" | "out" | "over" | "in";
    readonly account?: Account;
}

/** A token is renewed so long before it runs out. */
const leadMilliseconds = 60_000;
/** Says that somebody signed in here, so that there may be a cookie. */
const noteKey = "stampede.session";

class Session implements TokenSource {
    readonly state = new Store<SessionState>({ kind: "unknown" });
    private access: { readonly token: string; readonly until: number } | undefined;
    private refreshing: Promise<string> | undefined;

    /** Signs in by the cookie of an earlier visit, where there is one. */
    async begin(): Promise<void> {
        if (localStorage.getItem(noteKey) === null) return this.leave("out");
        try {
            await this.token();
            this.state.set({ kind: "in", account: await call("readOwnAccount", {}) });
        } catch (error) {
            if (error instanceof Refusal && error.isPassing) throw error;
            this.leave("out");
        }
    }

    async signIn(handle: string, password: string): Promise<void> {
        this.enter(await call("signIn", { body: { handle, password, refreshTokenIn: "cookie" } }));
    }

    /** @param key the same for the same form, however often it is sent. */
    async signUp(wanted: PersonSignUp, key: string): Promise<void> {
        this.enter(await call("signUp", {
            body: { ...wanted, refreshTokenIn: "cookie" }, headers: { "Idempotency-Key": key },
        }));
    }

    private enter(answer: SignedIn): void {
        this.keep(answer);
        localStorage.setItem(noteKey, "");
        this.state.set({ kind: "in", account: answer.account });
    }

    /** The cookie goes with the answer. Where there is none, this browser forgets what it has all the same. */
    async signOut(everywhere = false): Promise<void> {
        if (everywhere) await call("endAllSessions", {});
        else await call("endSession", { path: { id: "current" } });
        this.leave("out");
    }

    leave(kind: "out" | "over"): void {
        this.access = undefined;
        localStorage.removeItem(noteKey);
        if (this.state.get().kind !== "out") this.state.set({ kind });
    }

    /** How long the token at hand is still good, in milliseconds. */
    get remaining(): number {
        return this.access ? this.access.until - Date.now() : 0;
    }

    async token(): Promise<string> {
        if (this.access && this.remaining > 0) return this.access.token;
        this.refreshing ??= this.refresh().finally(() => { this.refreshing = undefined; });
        return this.refreshing;
    }

    forget(token: string): void {
        if (this.access?.token === token) this.access = undefined;
    }

    private async refresh(): Promise<string> {
        try {
            // One window after the other: each sends the cookie that the one before was given.
            const tokens = await exclusively("stampede-refresh", () => call("refreshSession", { body: {} }));
            return this.keep(tokens);
        } catch (error) {
            if (error instanceof Refusal && !error.isPassing) this.leave(this.state.get().kind === "in" ? "over" : "out");
            throw error;
        }
    }

    private keep(tokens: Tokens): string {
        this.access = {
            token: tokens.accessToken,
            until: Date.now() + Math.max(tokens.expiresInSeconds * 500, tokens.expiresInSeconds * 1000 - leadMilliseconds),
        };
        return tokens.accessToken;
    }
}

interface Locks { request<T>(name: string, work: () => Promise<T>): Promise<T> }

function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
    const locks = (navigator as { readonly locks?: Locks }).locks;
    return locks ? locks.request(name, work) : work();
}

export const session = new Session();
useTokensOf(session);
