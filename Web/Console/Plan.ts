// What a form of a sale holds, and the plan that it means.
import type { Product, Sale, SalePlan } from "@api";
import { minorDigits } from "../Shell/Text";

type Currency = SalePlan["batches"][number]["lines"][number]["price"]["currency"];

export interface TypedLine { readonly variant: string; readonly units: string; readonly price: string }
export interface TypedBatch {
    readonly number: number;
    readonly opensAt: string;
    readonly closesAt: string;
    readonly lines: readonly TypedLine[];
}
export interface TypedPlan {
    readonly productId: string;
    readonly title: { readonly [tag: string]: string };
    readonly holdMinutes: string;
    readonly waitlistMax: string;
    readonly currency: string;
    readonly batches: readonly TypedBatch[];
}

/** How an `input` writes a time of this device's zone, to the second. */
export function localTime(milliseconds: number): string {
    const date = new Date(milliseconds);
    return new Date(milliseconds - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

/** Times of whole seconds come back as they were: what is not edited must not change. */
const sameTime = (typed: string, before: string | undefined): string =>
    before !== undefined && typed === localTime(Date.parse(before)) ? before : new Date(typed).toISOString();

export function emptyBatch(number: number, product: Product | undefined, opensAt: number): TypedBatch {
    return {
        number, opensAt: localTime(opensAt), closesAt: localTime(opensAt + 3_600_000),
        lines: (product?.variants ?? []).map((one) => ({ variant: one.code, units: "", price: "" })),
    };
}

/** The form of a sale that is there. Variants that a batch does not sell have empty lines. */
export function typed(sale: Sale, product: Product): TypedPlan {
    const currency = sale.batches[0]?.lines[0]?.price.currency ?? "CNY";
    return {
        productId: sale.productId, title: sale.title, holdMinutes: String(sale.holdSeconds / 60),
        waitlistMax: String(sale.waitlistMax), currency,
        batches: sale.batches.map((batch) => ({
            number: batch.number, opensAt: localTime(Date.parse(batch.opensAt)),
            closesAt: batch.closesAt === undefined ? "" : localTime(Date.parse(batch.closesAt)),
            lines: product.variants.map((variant) => {
                const line = batch.lines.find((one) => one.variant === variant.code);
                return {
                    variant: variant.code, units: line ? String(line.units) : "",
                    price: line ? String(line.price.amount / 10 ** minorDigits(line.price.currency)) : "",
                };
            }),
        })),
    };
}

const whole = (text: string): number => /^\d{1,9}$/.test(text.trim()) ? Number(text) : NaN;

/**
 * The plan, and where each of its lines stands in the form: what the API says of `batches[0].lines[1]` is said beside that.
 * `wrong` names what cannot be read at all; the API is asked about the rest.
 */
export function plan(form: TypedPlan, before: Sale | undefined): {
    readonly plan: SalePlan; readonly wrong: ReadonlySet<string>; readonly places: ReadonlyMap<string, string>;
} {
    const wrong = new Set<string>();
    const places = new Map<string, string>();
    const isTime = (text: string) => !Number.isNaN(Date.parse(text));
    const currency = form.currency.trim().toUpperCase() as Currency;
    const holdSeconds = Math.round(Number(form.holdMinutes.replace(",", ".")) * 60);
    if (!(holdSeconds >= 1 && holdSeconds <= 604_800)) wrong.add("holdSeconds");
    const waitlistMax = whole(form.waitlistMax);
    if (!(waitlistMax <= 1_000_000)) wrong.add("waitlistMax");
    if (form.productId === "") wrong.add("productId");
    const title = Object.fromEntries(Object.entries(form.title).filter(([, text]) => text.trim() !== ""));
    if (Object.keys(title).length === 0) wrong.add("title");
    if (!/^[A-Z]{3}$/.test(currency)) wrong.add("currency");
    const batches = form.batches.map((batch, index) => {
        const place = `batches[${index}]`;
        const old = before?.batches.find((one) => one.number === batch.number);
        if (!isTime(batch.opensAt)) wrong.add(`${place}.opensAt`);
        if (batch.closesAt !== "" && !isTime(batch.closesAt)) wrong.add(`${place}.closesAt`);
        const lines: { variant: string; units: number; price: { amount: number; currency: Currency } }[] = [];
        batch.lines.forEach((line, at) => {
            if (line.units.trim() === "" && line.price.trim() === "") return;
            const spot = `${place}.lines[${at}]`;
            places.set(`${place}.lines[${lines.length}]`, spot);
            const units = whole(line.units);
            if (Number.isNaN(units)) wrong.add(`${spot}.units`);
            const amount = Math.round(Number(line.price.replace(",", ".")) * 10 ** minorDigits(currency));
            if (!(line.price.trim() !== "" && amount >= 1 && amount <= 10_000_000_000_000)) wrong.add(`${spot}.price`);
            lines.push({ variant: line.variant, units, price: { amount, currency } });
        });
        return {
            number: batch.number, lines,
            opensAt: isTime(batch.opensAt) ? sameTime(batch.opensAt, old?.opensAt) : "",
            ...(isTime(batch.closesAt) ? { closesAt: sameTime(batch.closesAt, old?.closesAt) } : {}),
        };
    });
    return { plan: { productId: form.productId, title, holdSeconds, waitlistMax, batches }, wrong, places };
}

/** Where in the form stands what the API names: an amount of a price is the price, a title in a language is the title. */
export function placeOf(field: string, places: ReadonlyMap<string, string>): string {
    if (/\.price\.currency$/.test(field)) return "currency";
    const line = /^batches\[\d+\]\.lines\[\d+\]/.exec(field)?.[0];
    const rest = line === undefined ? field : (places.get(line) ?? line) + field.slice(line.length);
    return rest.replace(/\.price\.amount$/, ".price").replace(/^title\..*/, "title").replace(/\.(variant)$/, ".units");
}
