// What a page reads when it opens, and how far that is.
import { useCallback, useEffect, useRef, useState } from "react";

export interface Loaded<T> {
    readonly value: T | undefined;
    readonly error: unknown;
    readonly isLoading: boolean;
    readonly again: () => void;
}

/**
 * Reads, and again whenever one of `what` is another; what was read stays until the next is there. An answer that comes when
 * another was asked for since is thrown away.
 */
export function useLoaded<T>(read: (signal: AbortSignal) => Promise<T>, what: readonly unknown[]): Loaded<T> {
    const [state, setState] = useState<{ value?: T; error?: unknown; isLoading: boolean }>({ isLoading: true });
    const [round, setRound] = useState(0);
    const reading = useRef(read);
    reading.current = read;
    const asked = JSON.stringify(what);
    const before = useRef(asked);
    useEffect(() => {
        const ending = new AbortController();
        const isOther = before.current !== asked;
        before.current = asked;
        setState((old) => ({ value: isOther ? undefined : old.value, isLoading: true }));
        reading.current(ending.signal).then(
            (value) => { if (!ending.signal.aborted) setState({ value, isLoading: false }); },
            (error: unknown) => {
                if (!ending.signal.aborted) setState((old) => ({ value: old.value, error, isLoading: false }));
            });
        return () => ending.abort();
    }, [asked, round]);
    const again = useCallback(() => setRound((one) => one + 1), []);
    return { value: state.value, error: state.error, isLoading: state.isLoading, again };
}
