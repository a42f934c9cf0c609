// Where one is: the part of the address behind its #, so that no server has to know the app's pages.
import { useSyncExternalStore } from "react";

export type Route = readonly string[];

function segments(): string {
    return location.hash.replace(/^#\/?/, "");
}

const subscribe = (listener: () => void) => {
    window.addEventListener("hashchange", listener);
    return () => window.removeEventListener("hashchange", listener);
};

/** The words of the address: `#/sales/ID` is ["sales", ID]. */
export function useRoute(): Route {
    const text = useSyncExternalStore(subscribe, segments);
    return text.split("/").filter((one) => one !== "").map(decodeURIComponent);
}

export const to = (...words: string[]): string => `#/${words.map(encodeURIComponent).join("/")}`;

export function go(...words: string[]): void {
    location.hash = to(...words);
}
