/** Where the page begins: the token leaves the address before anything is drawn or fetched. */
import './app/page.css'

import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'

import { App } from './app/App.jsx'
import * as preferences from './app/preferences.js'
import * as session from './app/session.js'

session.begin()
preferences.begin()
createRoot(document.getElementById('root')).render(
  <StrictMode>
    <App />
  </StrictMode>,
)
