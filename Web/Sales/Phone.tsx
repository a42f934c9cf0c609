// A phone's back, drawn in the colour that a variant names. The catalogue has no pictures of its own.
import { useId } from "react";

interface Colour { readonly body: string; readonly edge: string; readonly light: string }

const colours: ReadonlyArray<readonly [RegExp, Colour]> = [
    [/silver|white|pearl/i, { body: "#d9dcdd", edge: "#a9aeb0", light: "#f7f8f8" }],
    [/green|jade|mint/i, { body: "#3f7263", edge: "#2a5045", light: "#7bab9b" }],
    [/blue|ocean|sky/i, { body: "#3f628f", edge: "#2a4468", light: "#86a7d0" }],
    [/red|coral|rose/i, { body: "#b9564c", edge: "#873a32", light: "#e39a91" }],
    [/gold|sand|amber/i, { body: "#c9a56a", edge: "#987746", light: "#ecd5a9" }],
    [/violet|purple|lilac/i, { body: "#7d6b9e", edge: "#594a76", light: "#b3a4cf" }],
];
const graphite: Colour = { body: "#3a3d40", edge: "#1f2123", light: "#6d7276" };

export function Phone({ variant, title }: { variant: string; title?: string | undefined }) {
    const id = useId().replace(/:/g, "");
    const colour = colours.find(([words]) => words.test(variant))?.[1] ?? graphite;
    return (
        <svg className="phone" viewBox="0 0 120 200" width="120" height="200" role={title ? "img" : undefined}
            aria-label={title} aria-hidden={title ? undefined : true} focusable="false">
            <defs>
                <linearGradient id={`${id}b`} x1="0" y1="0" x2="1" y2="1">
                    <stop offset="0" stopColor={colour.light} />
                    <stop offset="0.45" stopColor={colour.body} />
                    <stop offset="1" stopColor={colour.edge} />
                </linearGradient>
                <radialGradient id={`${id}l`} cx="0.35" cy="0.3" r="0.9">
                    <stop offset="0" stopColor="#5a6a7c" />
                    <stop offset="0.45" stopColor="#1b2027" />
                    <stop offset="1" stopColor="#0a0c0f" />
                </radialGradient>
            </defs>
            <rect x="14" y="6" width="92" height="188" rx="19" fill={colour.edge} />
            <rect x="16" y="8" width="88" height="184" rx="17" fill={`url(#${id}b)`} />
            <path d="M16 60 C60 40 88 28 104 20 V25 C88 44 52 64 16 92 Z" fill="#fff" opacity="0.16" />
            <circle cx="60" cy="54" r="32" fill={colour.edge} opacity="0.55" />
            <circle cx="60" cy="54" r="30" fill="#15181b" />
            {([[48, 44], [72, 44], [48, 66], [72, 66]] as const).map(([x, y], index) => (
                <g key={`${x}.${y}`}>
                    <circle cx={x} cy={y} r="9.500" fill="#2b2f33" />
                    <circle cx={x} cy={y} r="8" fill={`url(#${id}l)`} />
                    {index < 3 && <circle cx={x - 2.500} cy={y - 2.500} r="1.600" fill="#cfe0f2" opacity="0.8" />}
                    {index === 3 && <circle cx={x} cy={y} r="4" fill="#f4ead0" opacity="0.9" />}
                </g>
            ))}
            <rect x="50" y="172" width="20" height="2.500" rx="1.250" fill="#000" opacity="0.25" />
        </svg>
    );
}
