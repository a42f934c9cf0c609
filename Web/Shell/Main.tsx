// The app's beginning: language, session, the first page.
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import "./Design/Design.css";
import { preferred, speak } from "./Text";

const place = document.getElementById("app");
if (!place) throw new Error("the page has no place for the app");
const root = createRoot(place);
void speak(preferred()).then(() => root.render(<StrictMode><App /></StrictMode>));
