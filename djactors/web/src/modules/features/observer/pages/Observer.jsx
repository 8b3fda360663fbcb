export default function Observer() { return null }
