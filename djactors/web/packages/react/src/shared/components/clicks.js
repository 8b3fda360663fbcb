/** Whether a click on a link is the page's; one with a modifier is the browser's: a new tab, a new window, a download. */
export const isPlainClick = (event) => !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) && event.button === 0
