// What is wrong with a page for those who cannot see it, or not well: names, labels, headings, contrast, what hangs over the
// edge. Answers a list of sentences; the tests run it in the page.
const faults = [];
const isSeen = (element) => element.checkVisibility ? element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })
    : element.offsetParent !== null;
const short = (element) => element.outerHTML.slice(0, 140);

function nameOf(element) {
    const labelled = element.getAttribute("aria-labelledby");
    if (labelled) return labelled.split(/\s+/).map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    const label = element.getAttribute("aria-label");
    if (label) return label.trim();
    if (element.labels && element.labels.length > 0) return element.labels[0].textContent.trim();
    return (element.innerText || element.textContent || "").trim();
}

if (!document.documentElement.lang) faults.push("the page says no language");
if (!document.title) faults.push("the page has no title");
if (document.querySelectorAll("main").length !== 1) faults.push("there is not one main");
const headings = [...document.querySelectorAll("h1, h2, h3")].filter(isSeen);
if (!headings.some((one) => one.tagName === "H1")) faults.push("there is no first heading");
const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
for (const id of new Set(ids.filter((one, index) => ids.indexOf(one) !== index))) faults.push(`the ID ${id} is there twice`);
for (const element of document.querySelectorAll("a[href], button, input, textarea, select, [role=button]")) {
    if (isSeen(element) && nameOf(element) === "") faults.push(`has no name: ${short(element)}`);
}
for (const element of document.querySelectorAll("[aria-describedby], [aria-labelledby]")) {
    for (const attribute of ["aria-describedby", "aria-labelledby"]) {
        for (const id of (element.getAttribute(attribute) ?? "").split(/\s+/).filter(Boolean)) {
            if (!document.getElementById(id)) faults.push(`${attribute} names nothing: ${short(element)}`);
        }
    }
}
for (const element of document.querySelectorAll("svg, img")) {
    if (!element.getAttribute("aria-label") && !element.getAttribute("alt") && !element.closest("[aria-hidden=true]")) {
        faults.push(`a picture says nothing and is not hidden: ${short(element)}`);
    }
}
for (const element of document.querySelectorAll("ul > :not(li), li:not(ul > li, ol > li)")) faults.push(`a list is none: ${short(element)}`);
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
    faults.push(`it is ${document.documentElement.scrollWidth} wide and hangs over ${document.documentElement.clientWidth}`);
}

/** A colour as red, green, blue from 0 to 255 and opacity. */
function parts(colour) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const context = canvas.getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
}
const known = new Map();
const colour = (text) => known.get(text) ?? known.set(text, parts(text)).get(text);
const over = ([r, g, b, a], [red, green, blue]) => [r * a + red * (1 - a), g * a + green * (1 - a), b * a + blue * (1 - a), 1];

/** What lies below an element; nothing where it is a picture or a gradient, which cannot be told so. */
function ground(element) {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
        const style = getComputedStyle(one);
        if (style.backgroundImage !== "none") {
            // The lightest and the darkest of a gradient are colours as well.
            const stops = style.backgroundImage.match(/rgba?\([^)]*\)|color\([^)]*\)/g);
            if (!stops) return [];
            return stops.map((stop) => layers.reduceRight((below, layer) => over(layer, below), colour(stop)));
        }
        const own = colour(style.backgroundColor);
        layers.push(own);
        if (own[3] === 1) break;
    }
    const base = colour(getComputedStyle(document.body).backgroundColor);
    return [layers.reduceRight((below, layer) => over(layer, below), base)];
}
function light([red, green, blue]) {
    const [r, g, b] = [red, green, blue].map((one) => {
        const part = one / 255;
        return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !isSeen(element) || element.closest("svg, .unseen, noscript, :disabled")) continue;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    for (const below of ground(element)) {
        const [first, second] = [light(over(colour(style.color), below)), light(below)];
        const ratio = (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05);
        if (ratio < needed) faults.push(`contrast ${ratio.toFixed(2)} of ${needed}: "${walker.currentNode.data.trim().slice(0, 40)}" in ${short(element)}`);
    }
}
return faults;
