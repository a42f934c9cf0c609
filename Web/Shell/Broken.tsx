// A page that could not be drawn, by a mistake of ours: said, instead of an empty window.
import { Component } from "react";
import type { ReactNode } from "react";
import { useText } from "./useText";

interface Props {
    readonly children: ReactNode;
    /** Another place is another page, which may be fine. */
    readonly place: string;
}

interface State { readonly isBroken: boolean; readonly place: string }

export class Broken extends Component<Props, State> {
    override state: State = { isBroken: false, place: this.props.place };

    static getDerivedStateFromError(): Partial<State> {
        return { isBroken: true };
    }

    static getDerivedStateFromProps(props: Props, state: State): State | null {
        return props.place === state.place ? null : { isBroken: false, place: props.place };
    }

    override render(): ReactNode {
        return this.state.isBroken ? <Sorry /> : this.props.children;
    }
}

function Sorry() {
    const text = useText();
    return (
        <div className="empty" role="alert">
            <p>{text.say("problem.broken")}</p>
            <button type="button" onClick={() => location.reload()}>{text.say("action.reload")}</button>
        </div>
    );
}
