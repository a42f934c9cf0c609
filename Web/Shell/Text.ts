// What the app says, in the reader's language: the patterns that scripts/web-texts compiled, filled in by Unicode's rules.
import { languages } from "@texts";
import type { Arguments, Part, Patterns } from "@texts";
import type { CatalogLocalizedText, CatalogMoney } from "@api";
import { Store } from "../API/Store";

type Values = { readonly [name: string]: string | number | Date };

/** Currencies whose minor unit is no hundredth, as the API's document lists them. */
const thousandths = new Set("BHD IQD JOD KWD LYD OMR TND".split(" "));
const wholes = new Set("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF".split(" "));

/** How many digits a currency has behind the point. */
export const minorDigits = (currency: string): number => wholes.has(currency) ? 0 : thousandths.has(currency) ? 3 : 2;

export class Language {
    private readonly plurals: Intl.PluralRules;
    private readonly numbers: Intl.NumberFormat;

    constructor(readonly tag: string, private readonly patterns: Patterns) {
        this.plurals = new Intl.PluralRules(tag);
        this.numbers = new Intl.NumberFormat(tag);
    }

    /** A sentence that needs nothing, or what it needs. */
    readonly say = <Key extends keyof Arguments>(
        key: Key, ...values: {} extends Arguments[Key] ? [] : [Arguments[Key]]
    ): string => this.fill(this.patterns[key], (values[0] ?? {}) as unknown as Values, undefined);

    private fill(parts: string | readonly Part[], values: Values, count: number | undefined): string {
        if (typeof parts === "string") return parts;
        return parts.map((part) => typeof part === "string" ? part : this.argument(part, values, count)).join("");
    }

    private argument([name, kind, style]: Exclude<Part, string>, values: Values, count: number | undefined): string {
        if (name === "#") return this.numbers.format(count ?? 0);
        const value = values[name] ?? "";
        if (typeof style === "object") {
            const chosen = kind === "plural"
                ? style[`=${String(value)}`] ?? style[this.plurals.select(Number(value))] : style[String(value)];
            return this.fill(chosen ?? style.other ?? [], values, kind === "plural" ? Number(value) : count);
        }
        if (value instanceof Date) return kind === "date" ? this.day(value) : this.time(value);
        return typeof value === "number" ? this.numbers.format(value) : value;
    }

    readonly number = (value: number): string => this.numbers.format(value);

    readonly time = (value: Date): string =>
        value.toLocaleTimeString(this.tag, { hour: "numeric", minute: "2-digit" });

    readonly day = (value: Date): string => {
        const isThisYear = value.getFullYear() === new Date().getFullYear();
        return value.toLocaleDateString(this.tag, isThisYear
            ? { weekday: "short", month: "short", day: "numeric" } : { year: "numeric", month: "short", day: "numeric" });
    };

    /** The time of what is of today, the day of what is not. */
    readonly moment = (value: Date): string =>
        value.toDateString() === new Date().toDateString() ? this.time(value) : this.day(value);

    readonly money = ({ amount, currency }: CatalogMoney): string => {
        const digits = minorDigits(currency);
        return (amount / 10 ** digits).toLocaleString(this.tag, {
            style: "currency", currency, currencyDisplay: "narrowSymbol", minimumFractionDigits: digits,
            maximumFractionDigits: digits,
        });
    };

    /** The text of the reader's language, or of the nearest to it, or English, or whichever there is. */
    readonly pick = (text: CatalogLocalizedText | undefined): string => {
        if (!text) return "";
        for (const wanted of [this.tag, "en"]) {
            const base = wanted.split("-")[0];
            const found = text[wanted] ?? text[base ?? ""]
                ?? Object.entries(text).find(([tag]) => tag.split("-")[0] === base)?.[1];
            if (found !== undefined) return found;
        }
        return Object.values(text)[0] ?? "";
    };
}

const chosenKey = "stampede.language";
export const known = Object.keys(languages);

/** What was chosen here, or what the browser asks for. */
export function preferred(): string {
    const wanted = [localStorage.getItem(chosenKey) ?? "", ...navigator.languages];
    for (const tag of wanted) {
        const base = tag.split("-")[0] ?? "";
        if (known.includes(tag)) return tag;
        if (known.includes(base)) return base;
    }
    return "en";
}

export const language = new Store<Language | undefined>(undefined);

export async function speak(tag: string, isChosen = false): Promise<void> {
    const load = languages[tag] ?? languages.en;
    if (!load) return;
    const { patterns } = await load();
    if (isChosen) localStorage.setItem(chosenKey, tag);
    document.documentElement.lang = tag;
    document.documentElement.dir = /^(ar|fa|he|ur)\b/.test(tag) ? "rtl" : "ltr";
    language.set(new Language(tag, patterns));
}
