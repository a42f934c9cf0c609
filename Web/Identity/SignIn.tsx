// Signing in, also again where a session has ended: one goes on where one was.
import { useState } from "react";
import { session } from "../API/Session";
import { Field, FormTrouble, useSending } from "../Shell/Form";
import { Refusal } from "../API/Problem";
import { to } from "../Shell/Route";
import { useText } from "../Shell/useText";
import { Welcome } from "./Welcome";

export function SignIn({ isOver }: { isOver: boolean }) {
    const text = useText();
    const [handle, setHandle] = useState("");
    const [password, setPassword] = useState("");
    const sending = useSending(() => session.signIn(handle.trim(), password));
    const problem = (field: string) => sending.error instanceof Refusal && sending.error.field(field) !== undefined
        ? text.say(field === "handle" ? "field.handle.wrong" : "field.password.wrong") : undefined;
    return (
        <Welcome title={text.say("signIn.title")}>
            {isOver && <p role="status" className="remark">{text.say("signIn.over")}</p>}
            <form onSubmit={sending.submit} noValidate>
                <Field label={text.say("field.handle")} name="handle" value={handle} change={setHandle}
                    problem={problem("handle")} autoComplete="username" autoCapitalize="none" spellCheck={false} required />
                <Field label={text.say("field.password")} name="password" type="password" value={password}
                    change={setPassword} problem={problem("password")} autoComplete="current-password" required />
                <FormTrouble sending={sending} fields={["handle", "password"]} />
                <button type="submit" className="primary" aria-disabled={sending.isSending}>
                    {sending.isSending ? text.say("state.sending") : text.say("signIn.action")}
                </button>
            </form>
            <p className="other">{text.say("signIn.new")} <a href={to("sign-up")}>{text.say("signUp.action")}</a></p>
        </Welcome>
    );
}
