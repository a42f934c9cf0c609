// A value that pages look at: whoever does is told when it is another.
import { useSyncExternalStore } from "react";

export class Store<T> {
    private readonly listeners = new Set<() => void>();

    constructor(private value: T) {}

    readonly get = (): T => this.value;

    set(value: T): void {
        if (Object.is(value, this.value)) return;
        this.value = value;
        for (const listener of [...this.listeners]) listener();
    }

    update(change: (value: T) => T): void {
        this.set(change(this.value));
    }

    readonly subscribe = (listener: () => void): (() => void) => {
        this.listeners.add(listener);
        return () => { this.listeners.delete(listener); };
    };
}

/** What the store holds; the page is drawn again when it changes. */
export function useStore<T>(store: Store<T>): T {
    return useSyncExternalStore(store.subscribe, store.get);
}
