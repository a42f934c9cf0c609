// Forms: what is wrong stands beside the field, what was typed stays, and a form is sent once however often it is pressed.
import { useCallback, useId, useRef, useState } from "react";
import type { FormEvent, InputHTMLAttributes, ReactNode } from "react";
import { Refusal } from "../API/Problem";
import { Trouble } from "./Explain";

export interface Sending {
    readonly isSending: boolean;
    readonly error: unknown;
    readonly submit: (event: FormEvent) => void;
    readonly clear: () => void;
}

/** Carries out what a form asks for. While it runs, pressing again does nothing. */
export function useSending(work: () => Promise<void>): Sending {
    const [isSending, setIsSending] = useState(false);
    const [error, setError] = useState<unknown>();
    const isRunning = useRef(false);
    const latest = useRef(work);
    latest.current = work;
    const submit = useCallback((event: FormEvent) => {
        event.preventDefault();
        if (isRunning.current) return;
        isRunning.current = true;
        setIsSending(true);
        setError(undefined);
        latest.current().catch(setError).finally(() => {
            isRunning.current = false;
            setIsSending(false);
        });
    }, []);
    return { isSending, error, submit, clear: useCallback(() => setError(undefined), []) };
}

/** Says what is wrong with all of it, where no field does. */
export function FormTrouble({ sending, fields }: { sending: Sending; fields: readonly string[] }) {
    const { error } = sending;
    if (error instanceof Refusal && error.problem?.fields?.every((one) => fields.includes(one.field))) return null;
    return <Trouble error={error} />;
}

interface FieldProps extends Omit<InputHTMLAttributes<HTMLInputElement>, "onChange" | "value"> {
    readonly label: string;
    readonly value: string;
    readonly change: (value: string) => void;
    /** What is wrong with it. */
    readonly problem?: string | undefined;
    readonly hint?: ReactNode;
}

export function Field({ label, value, change, problem, hint, ...rest }: FieldProps) {
    const id = useId();
    const isDescribed = problem !== undefined || hint !== undefined;
    return (
        <div className="field">
            <label htmlFor={id}>{label}</label>
            <input {...rest} id={id} value={value} onChange={(event) => change(event.target.value)}
                aria-invalid={problem !== undefined} aria-describedby={isDescribed ? `${id}-note` : undefined} />
            {isDescribed && (
                <p id={`${id}-note`} className={problem === undefined ? "hint" : "wrong"}
                    role={problem === undefined ? undefined : "alert"}>{problem ?? hint}</p>
            )}
        </div>
    );
}
