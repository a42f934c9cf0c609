// One of several, as a field of a form.
import { useId } from "react";

export function Choice({ label, value, options, change, disabled, problem }: {
    label: string; value: string; options: readonly (readonly [string, string])[]; change: (value: string) => void;
    disabled: boolean; problem: string | undefined;
}) {
    const id = useId();
    return (
        <div className="field">
            <label htmlFor={id}>{label}</label>
            <select id={id} value={value} disabled={disabled} onChange={(event) => change(event.target.value)}
                aria-invalid={problem !== undefined} aria-describedby={problem === undefined ? undefined : `${id}-note`}>
                {options.map(([one, said]) => <option key={one} value={one}>{said}</option>)}
            </select>
            {problem !== undefined && <p id={`${id}-note`} className="wrong" role="alert">{problem}</p>}
        </div>
    );
}
