// The reader's language, for a page.
import { useStore } from "../API/Store";
import { language } from "./Text";
import type { Language } from "./Text";

export function useText(): Language {
    const found = useStore(language);
    if (!found) throw new Error("no page is drawn before its language is there");
    return found;
}
