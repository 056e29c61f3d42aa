import type { Screen } from '../../screens.ts';
import { localized } from '../../words/localized.ts';

const { title } = localized({ title: 'Run an action' });

export const screen: Screen = {
  paths: ['/actions/:ref/run'],
  title,
  needs: 'actions:execute',
  load: () => import('./Screen.svelte'),
};
