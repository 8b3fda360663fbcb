/** Line icons, 24 × 24, in the colour of the text. Decoration only: what they mean is said in words beside them. */
const PATHS = {
  bell: 'M6 16V10.500a6 6 0 0 1 12 0V16l1.500 2.500h-15L6 16ZM10 21h4',
  check: 'm5 12.500 4.500 4.500L19 7.500',
  checks: 'm2.500 12.500 4.500 4.500L15.500 8M12 15.500l1.500 1.500L22 8.500',
  close: 'M6 6l12 12M18 6 6 18',
  trash: 'M4.500 7h15M10 7V4.500h4V7M6.500 7l1 13h9l1-13M10.500 11v5.500M13.500 11v5.500',
  plus: 'M12 5v14M5 12h14',
  back: 'M19 12H5m6-6-6 6 6 6',
  arrow: 'M5 12h14m-6-6 6 6-6 6',
  chevron: 'm6 9 6 6 6-6',
  clock: 'M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17ZM12 7.500V12l3 2',
  alert: 'M12 4 2.500 20h19L12 4Zm0 6v5m0 2.500v.01',
  user: 'M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM4.500 20.500c.8-4 3.800-6 7.500-6s6.700 2 7.500 6',
  comment: 'M4 5h16v11H11l-4.500 4V16H4V5Z',
  eye: 'M2.500 12S6 5.500 12 5.500 21.500 12 21.500 12 18 18.500 12 18.500 2.500 12 2.500 12Zm9.500-3a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z',
  inbox: 'M3.500 13.500 6.500 5h11l3 8.500V19h-17v-5.500Zm0 0H9a3 3 0 0 0 6 0h5.500',
  list: 'M8.500 6.500H20M8.500 12H20M8.500 17.500H20M4.500 6.500v.01M4.500 12v.01M4.500 17.500v.01',
  activity: 'M2.500 12H7l3-7.500 4.500 15L17.500 12h4',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2.500v2M12 19.500v2M2.500 12h2M19.500 12h2M5.300 5.300l1.400 1.400M17.300 17.300l1.400 1.400M5.300 18.700l1.400-1.400M17.300 6.700l1.400-1.400',
  moon: 'M20 14.500A8.500 8.500 0 0 1 9.500 4 8.500 8.500 0 1 0 20 14.500Z',
  screen: 'M3 5h18v11.500H3V5Zm6 15h6M12 16.500V20',
  sound: 'M4 9.500v5h3.500L12 18.500v-13L7.500 9.500H4Zm11.500-1a5 5 0 0 1 0 7M18 6a8.500 8.500 0 0 1 0 12',
  exit: 'M14 4.500H5v15h9M10 12h11m-4-4 4 4-4 4',
  spark: 'M12 3v5m0 8v5M3 12h5m8 0h5M6 6l2.500 2.500M15.500 15.500 18 18M18 6l-2.500 2.500M8.500 15.500 6 18',
  done: 'M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17Zm-4 8.800 2.700 2.700L16 9.500',
  cross: 'M12 3.500a8.500 8.500 0 1 0 0 17 8.500 8.500 0 0 0 0-17ZM9 9l6 6m0-6-6 6',
  calendar: 'M4 6h16v14H4V6Zm0 4.500h16M8 3.500V7m8-3.500V7',
}

export function Icon({ name, className = 'size-5' }) {
  return (
    <svg viewBox="0 0 24 24" className={`shrink-0 ${className}`} aria-hidden="true" fill="none" stroke="currentColor"
      strokeWidth="1.75" strokeLinecap="round" strokeLinejoin="round">
      <path d={PATHS[name]} />
    </svg>
  )
}
