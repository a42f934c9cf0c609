// Signing up.
import { useMemo, useState } from "react";
import { newID } from "../API/NewID";
import { Refusal } from "../API/Problem";
import { session } from "../API/Session";
import { Field, FormTrouble, useSending } from "../Shell/Form";
import { to } from "../Shell/Route";
import { useText } from "../Shell/useText";
import { Welcome } from "./Welcome";

export function SignUp() {
    const text = useText();
    const [displayName, setName] = useState("");
    const [handle, setHandle] = useState("");
    const [password, setPassword] = useState("");
    // The same command as long as the form says the same: an answer that was lost is asked for again.
    const key = useMemo(newID, [displayName, handle]);
    const sending = useSending(() => session.signUp(
        { displayName: displayName.trim(), handle: handle.trim(), password, locale: text.tag }, key));
    const { error } = sending;
    const refused = (field: string) => error instanceof Refusal && error.field(field) !== undefined;
    const isTaken = error instanceof Refusal && error.kind === "handle-taken";
    return (
        <Welcome title={text.say("signUp.title")}>
            <form onSubmit={sending.submit} noValidate>
                <Field label={text.say("field.name")} name="displayName" value={displayName} change={setName}
                    problem={refused("displayName") ? text.say("field.name.wrong") : undefined}
                    hint={text.say("field.name.hint")} autoComplete="name" required />
                <Field label={text.say("field.handle")} name="handle" value={handle} change={setHandle}
                    problem={isTaken ? text.say("problem.handleTaken")
                        : refused("handle") ? text.say("field.handle.wrong") : undefined}
                    hint={text.say("field.handle.hint")} autoComplete="username" autoCapitalize="none"
                    spellCheck={false} required />
                <Field label={text.say("field.password")} name="password" type="password" value={password}
                    change={setPassword} problem={refused("password") ? text.say("field.password.short") : undefined}
                    hint={text.say("field.password.hint")} autoComplete="new-password" required />
                {!isTaken && <FormTrouble sending={sending} fields={["displayName", "handle", "password"]} />}
                <button type="submit" className="primary" aria-disabled={sending.isSending}>
                    {sending.isSending ? text.say("state.sending") : text.say("signUp.action")}
                </button>
            </form>
            <p className="other">{text.say("signUp.have")} <a href={to()}>{text.say("signIn.action")}</a></p>
        </Welcome>
    );
}
